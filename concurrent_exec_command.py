"""The entry point of the console script, outside the package, which can't be imported driverless.

Whoever has installed neither driver shall be told so in a line, not in a traceback.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        from concurrent_exec.cli import main as run
    except ImportError as exc:
        print(f"concurrent-exec: error: {exc}", file=sys.stderr)
        return 1
    return run()
