"""`python -m vlm_inspect`: the same program as `vlm-inspect`."""

from __future__ import annotations

from vlm_inspect.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
