"""The command line, `concurrent-exec`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .streams import hold_standard_streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    `arguments` are those after the program's name; by default the process's own.
    """
    hold_standard_streams()
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(
            "concurrent-exec: error: the command line needs one package more: "
            "pip install 'concurrent-exec[cli]'",
            file=sys.stderr,
        )
        return 1
    return run(arguments)
