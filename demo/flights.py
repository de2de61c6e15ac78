"""The main job, as `make demo` runs it: `python demo/flights.py --help` tells more."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run the command line; return its exit status."""
    # Run as a file, Python looks for modules in this folder; they are named from the one above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        from demo.command import run
    except ImportError as error:
        print(
            f"flights.py: error: {error}: pip install 'concurrent-exec[cassandra,cli,demo]'",
            file=sys.stderr,
        )
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
