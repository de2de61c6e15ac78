"""What `run` shows of itself while it goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from concurrent_exec.cli.display import State, duration, in_words

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
