"""Two Snapshots to a Difference. Pure: no files, no network, no text."""

from __future__ import annotations

from vlm_inspect.compare.compare import compare
from vlm_inspect.compare.moves import apply_moves

__all__ = ["apply_moves", "compare"]
