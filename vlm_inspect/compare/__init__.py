"""Two Snapshots to a Difference. Pure: no files, no network, no text."""

from __future__ import annotations

from vlm_inspect.compare.compare import compare
from vlm_inspect.compare.places import apply_moves
from vlm_inspect.compare.selection import of_roles

__all__ = ["apply_moves", "compare", "of_roles"]
