"""`python -m vlm_inspect`: the same program as `vlm-inspect`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program, and end the process with its exit code."""
    try:
        from vlm_inspect.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before a command could begin
        sys.exit(130)


if __name__ == "__main__":
    main()
