"""Compare two snapshots. Pure functions: no files, no network, no output."""

from __future__ import annotations

from vlm_inspect.compare.compare import compare, of_roles
from vlm_inspect.compare.paths import apply_moves

__all__ = ["apply_moves", "compare", "of_roles"]
