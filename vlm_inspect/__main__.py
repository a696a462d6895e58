"""`python -m vlm_inspect`: the same program as `vlm-inspect`."""

from __future__ import annotations

import gc
import sys

# imports allocate tens of thousands of objects that stay: collecting garbage among them takes time
_GC_THRESHOLD = 100_000

__all__ = ["main"]


def main() -> None:
    """Run the program, and end the process with its exit code."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from vlm_inspect.cli import signals

        signals.install_handlers()
        from vlm_inspect.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before the handlers are installed
        sys.exit(130)


if __name__ == "__main__":
    main()
