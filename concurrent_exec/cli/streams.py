"""Standard streams that are closed, or that nobody reads."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def hold_standard_streams() -> None:
    """Take the numbers of standard streams that whoever started us has closed.

    Else the next file or socket has such a number, and is written what was meant for the stream.
    Standard input is empty then, standard error goes nowhere, and what would write rows to standard
    output fails.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest that is free is the next one opened
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 (as long as the process)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def say(line: str) -> None:
    """Write a line to standard error. If that can't be, nobody hears it, and no more."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
