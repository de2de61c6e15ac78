"""What `run` shows of itself while it goes on."""

from __future__ import annotations

import os
import pty
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from concurrent_exec.cli.display import (
    State,
    duration,
    in_words,
    shown_in_lines,
    shown_on_terminal,
)

STATE = State(
    settled=1_500,
    total=None,
    share=None,
    now=750.4,
    mean=1_000,
    at_work="7 of 100 in flight",
    retries=0,
    failed={},
    seconds_left=None,
    latencies=(),
)


def test_what_is_not_known_is_not_shown() -> None:
    assert in_words(STATE) == "1,500 records; 750/s now, 1,000/s mean; 7 of 100 in flight"


def test_all_that_is_known_is_shown() -> None:
    state = replace(
        STATE,
        total=6_000,
        share=0.25,
        retries=1_234,
        failed={"WriteTimeout": 1_000, "InvalidRequest": 2},
        seconds_left=90.0,
        latencies=(0.0011, 0.0204, 1.5),
    )
    assert in_words(state).split("; ") == [
        "1,500 of 6,000 records",
        "25%",
        "750/s now, 1,000/s mean",
        "7 of 100 in flight",
        "failed: 1,000 WriteTimeout, 2 InvalidRequest",
        "1,234 retries",
        "p50 1.1 ms, p99 20.4 ms, p999 1,500.0 ms",
        "1 min 30 s left",
    ]


class Seen:
    """Plays what looks at a run: it sees one state after the other, and the last one again."""

    def __init__(self, *states: State | None) -> None:
        self.states = list(states)

    def look(self) -> State | None:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_lines_come_once_there_is_something_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    written = Event()

    def say(line: str) -> None:
        lines.append(line)
        written.set()

    monkeypatch.setattr("concurrent_exec.cli.display.say", say)
    looker: Any = Seen(None, STATE)
    with shown_in_lines(looker, 0.001):
        assert written.wait(60)
    assert set(lines) == {in_words(STATE)}


def written_to(terminal: int) -> str:
    """Return all that was, once nobody writes any more."""
    data = b""
    with suppress(OSError):  # so a terminal ends on Linux
        while more := os.read(terminal, 1 << 16):
            data += more
    os.close(terminal)
    return data.decode()


@pytest.mark.parametrize("share", [None, 0.25])
def test_a_live_display_has_a_bar_where_the_end_is_known(share: float | None) -> None:
    looker: Any = Seen(replace(STATE, share=share))
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", terminal)
        patch.setenv("TERM", "xterm")
        with shown_on_terminal(looker):
            pass
    shown = written_to(ours)
    assert "1,500 records" in shown
    assert ("\u2501" in shown) == (share is not None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (3.21, "3.2 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (125.2, "2 min 5 s"),
        (3_600, "1 h 0 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
