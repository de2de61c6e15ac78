"""Standard streams that were closed before, or that nobody reads."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from concurrent_exec.cli.interrupts import stopped_by_signals
from concurrent_exec.cli.streams import say

CLOSED = """
import os, sys
from concurrent_exec.cli.interrupts import stopped_by_signals
from concurrent_exec.cli.streams import hold_standard_streams
hold_standard_streams()
with open(sys.argv[1], "w") as file:
    file.write(f"{file.fileno() > 2} {sys.stdin.read()!r} {sys.stderr.isatty()} ")
    try:
        os.write(1, b"a row")
    except OSError:
        file.write("refused")
"""


def test_a_closed_stream_has_its_number_still(tmp_path: Path) -> None:
    """Or a file would be written that has it by chance."""
    told = tmp_path / "told"
    closing = 'exec "$0" -c "$1" "$2" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closing, sys.executable, CLOSED, str(told)], timeout=60)
    assert done.returncode == 0
    assert told.read_text() == "True '' False refused"


class Unheard(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_what_nobody_hears_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Unheard())
    say("a line")


def test_a_signal_is_heeded_though_nobody_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unheard(descriptor: int, data: bytes) -> int:
        raise BrokenPipeError

    heeded: list[bool] = []
    with monkeypatch.context() as patch, stopped_by_signals(lambda: heeded.append(True)):
        patch.setattr(os, "write", unheard)
        signal.raise_signal(signal.SIGINT)
    assert heeded == [True]
