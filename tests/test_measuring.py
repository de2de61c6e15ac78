"""Playing ways in turn: in which order, what is counted, and what the figures say."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec import CallbackExecutor, Executor, ThreadExecutor
from concurrent_exec.comparing import measuring
from concurrent_exec.comparing.measuring import (
    Go,
    Latency,
    Note,
    Play,
    Spread,
    TimedSession,
    limit_or_timing,
    play_in_turn,
)
from concurrent_exec.comparing.memory import PeakMemory
from concurrent_exec.testing import Reply, ScriptedSession, VirtualClock, wait_until_quiet
from tests.executors import any_executor

MakeExecutor = Callable[..., Executor[Any]]


class Played:
    """Ways that note who was played, and whether the times were to be taken."""

    def __init__(self, names: str, failed: int = 0) -> None:
        self.plays: list[tuple[str, int, bool]] = []
        self.ways: dict[str, Play] = {name: self._way(name, failed) for name in names}

    def _way(self, name: str, failed: int) -> Play:
        def play(statements: int, note: Note | None) -> int:
            self.plays.append((name, statements, note is not None))
            if note is not None:
                for number in range(statements):
                    note(number / 1000)
            return failed

        return play


def test_each_round_plays_every_way_once_in_an_order_drawn_anew() -> None:
    played = Played("abcdef")
    goes = play_in_turn(played.ways, statements=1, rounds=4, timed=False)
    order = [name for name, _, _ in played.plays]
    rounds = ["".join(order[start : start + 6]) for start in range(0, len(order), 6)]
    assert [sorted(each) for each in rounds] == [list("abcdef")] * 5  # one of them warms up
    assert len(set(rounds)) > 1
    assert {name: len(each) for name, each in goes.items()} == dict.fromkeys("abcdef", 4)
    again = Played("abcdef")
    play_in_turn(again.ways, statements=1, rounds=4, timed=False)
    assert again.plays == played.plays


def test_times_are_taken_in_goes_of_their_own_and_not_to_warm_up() -> None:
    played = Played("a")
    (go, _) = play_in_turn(played.ways, statements=3, rounds=2)["a"]
    assert played.plays == [
        ("a", 3, False),
        ("a", 3, False),
        ("a", 3, True),
        ("a", 3, False),
        ("a", 3, True),
    ]
    assert go.latency == Latency(0.001, 0.002, 0.002)


def test_times_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "TIMED_AT_MOST", 10)
    played = Played("a")
    play_in_turn(played.ways, statements=1000, rounds=1, warm_up=0)
    assert played.plays == [("a", 1000, False), ("a", 10, True)]


def test_who_tells_no_times_has_no_latency() -> None:
    ways: dict[str, Play] = {"a": lambda statements, note: 0}
    (go,) = play_in_turn(ways, statements=3, rounds=1)["a"]
    assert go.latency is None


def test_rounds_are_reported_before_they_begin() -> None:
    reported: list[tuple[int, str]] = []
    played = Played("a")
    play_in_turn(
        played.ways,
        statements=1,
        rounds=2,
        timed=False,
        report=lambda turn, name: reported.append((turn, f"{name}{len(played.plays)}")),
    )
    assert reported == [(-1, "a0"), (0, "a1"), (1, "a2")]


def test_what_a_way_raises_is_raised() -> None:
    def play(statements: int, note: Note | None) -> int:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        play_in_turn({"a": play}, statements=1)


def test_cpu_is_that_of_working_and_not_of_waiting() -> None:
    def work(statements: int, note: Note | None) -> int:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return 0

    def wait(statements: int, note: Note | None) -> int:
        time.sleep(0.2)
        return 0

    goes = play_in_turn({"work": work, "wait": wait}, statements=1, rounds=1, timed=False)
    assert goes["work"][0].cpu_us >= 200_000
    assert goes["wait"][0].cpu_us < 100_000
    assert goes["wait"][0].seconds >= 0.2


def test_failures_are_no_throughput_but_cost() -> None:
    go = Go(100, 40, seconds=2.0, cpu_seconds=0.001, peak_bytes=0, latency=None)
    assert go.rate == 30
    assert go.cpu_us == pytest.approx(10)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, (1, 1, 1)),
        (2, (1, 2, 2)),
        (1000, (500, 990, 999)),
        (1001, (501, 991, 1000)),
        (100_000, (50_000, 99_000, 99_900)),
    ],
)
def test_percentiles_are_nearest_ranks(count: int, expected: tuple[int, int, int]) -> None:
    assert Latency.of(range(count, 0, -1)) == Latency(*expected)


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert Spread.of(iter([5.0, 1.0, 2.0])) == Spread(2.0, 1.0, 5.0)
    assert Spread.of([math.inf]) == Spread(math.inf, math.inf, math.inf)


@any_executor
def test_an_executor_tells_the_time_of_every_attempt(make_executor: MakeExecutor) -> None:
    clock = VirtualClock()
    session = ScriptedSession(
        lambda statement, parameters: (
            Reply(error=RuntimeError("no"), after=parameters[0])
            if parameters[0] == 3.0
            else Reply(after=parameters[0])
        ),
        clock=clock,
    )
    times: list[float] = []
    limit = limit_or_timing(2, times.append)
    assert not isinstance(limit, int)
    assert limit.limit == limit.max_limit == 2
    with make_executor(session, concurrency=limit, clock=clock) as executor:
        results = executor.map("x", [(1.0,), (3.0,)], raise_on_first_error=False)
        wait_until_quiet(executor, session)
        clock.advance(5.0, settle=lambda: wait_until_quiet(executor, session))
        assert [each.success for each in results] == [True, False]
    assert times == [1.0, 3.0]


def test_without_a_note_the_limit_is_a_number() -> None:
    assert limit_or_timing(7, None) == 7


@pytest.mark.parametrize("make_executor", [CallbackExecutor, ThreadExecutor])
def test_a_timed_session_tells_the_time_of_every_statement(make_executor: MakeExecutor) -> None:
    scripted = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    times = array("d")
    session = TimedSession(scripted, times.append)
    with make_executor(session) as executor:
        assert len(executor.map("read", [(1,)] * 50).all()) == 50
    session.execute("read")
    assert len(times) == 51
    assert all(0 <= seconds < 60 for seconds in times)
    assert session.sent == 51  # what else there is, is the session's


def test_peak_memory_is_what_was_held_meanwhile() -> None:
    first = PeakMemory()
    held = b"x" * 80_000_000
    most = first.bytes()
    assert most > 80_000_000
    del held
    second = PeakMemory()
    assert first.is_own == second.is_own
    if second.is_own:
        assert second.bytes() < most - 60_000_000
    else:
        assert second.bytes() >= most


def test_where_the_measure_can_not_start_anew_it_is_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(self: Path, text: str) -> int:
        raise PermissionError(self)

    monkeypatch.setattr(Path, "write_text", refused)
    memory = PeakMemory()
    assert not memory.is_own
    assert memory.bytes() > 1_000_000
