"""What `QueueDelay` promises, on a model of a server and against what it may be told."""

from __future__ import annotations

from itertools import pairwise
from math import inf, nan
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec import QueueDelay
from concurrent_exec.pacing.queue_delay import WARY_GROWTH
from tests.conftest import PROOF
from tests.queueing import Fixed, drawn_servers, last, play

STEP = 0.002
"""Seconds after which the model's answers are told together."""


class Server:
    """Answers so many a second at most, each after `trip` seconds where there is no queue."""

    def __init__(
        self, limiter: QueueDelay, *, rate: float, trip: float, cliff: float = inf
    ) -> None:
        self.limiter = limiter
        self.rate = rate
        self.trip = trip
        self.cliff = cliff
        """With more in flight it does less, by the third power of what is too much."""
        self.beside = 0
        """How many statements others have in flight."""
        self.answered = 0
        self._now = 0.0
        self._owed = 0.0

    def serve(self, seconds: float, *, wanted: float = inf) -> list[int]:
        """Answer for some time whoever has `limit` in flight, and wants no more than so many a
        second; return the limits on the way."""
        limits: list[int] = []
        for _ in range(round(seconds / STEP)):
            self._now += STEP
            limit = self.limiter.limit
            # By Little's law, as all that is in flight is here.
            rate = self.rate * min(1.0, self.cliff / limit) ** 3 * limit / (limit + self.beside)
            self._owed += STEP * min(limit / self.trip, rate, wanted)
            successes, self._owed = int(self._owed), self._owed % 1.0
            if successes:
                self.answered += successes
                self.tell(successes)
            limits.append(self.limiter.limit)
        return limits

    def tell(self, successes: int, overloads: int = 0) -> None:
        self.limiter.settled_many(successes=successes, overloads=overloads, now=self._now)


# --- options --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["min", "max"])
@pytest.mark.parametrize("value", [True, 20.0, "20", None, 0, -1])
def test_a_level_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        QueueDelay(**{name: value})


@pytest.mark.parametrize("value", [0, -0.1, nan, inf, "0.1", None, True])
def test_the_target_is_some_seconds(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^target must be "):
        QueueDelay(value)


def test_levels_are_in_order() -> None:
    with pytest.raises(ValueError, match="max must be at least min, which is 100, not 99"):
        QueueDelay(max=99)


def test_it_says_what_it_is() -> None:
    limiter = QueueDelay(0.2, min=7, max=90)
    assert (limiter.limit, limiter.max_limit, limiter.target) == (7, 90, 0.2)
    assert repr(limiter) == "QueueDelay(limit=7, target=0.2, min=7, max=90)"


# --- the limit ------------------------------------------------------------------------------


@settings(max_examples=30)
@given(rate=st.floats(200, 200_000), trip=st.floats(0.001, 0.3))
def test_it_goes_where_the_queue_is_as_long_as_the_target(rate: float, trip: float) -> None:
    limits = Server(QueueDelay(), rate=rate, trip=trip).serve(40)
    shortest = max(trip, 100 / rate)
    fits = min(4000.0, max(100.0, rate * (shortest + 0.1)))
    assert 0.8 * fits - 1 <= median(limits[len(limits) // 2 :]) <= 1.25 * fits + 1


def test_it_begins_low_and_at_most_doubles() -> None:
    limits = Server(QueueDelay(), rate=1e9, trip=0.01).serve(0.9)
    assert sorted(set(limits)) == [100, 200, 400, 800, 1600, 3200, 4000]


def test_a_far_cluster_is_no_slow_one() -> None:
    assert max(Server(QueueDelay(), rate=1e9, trip=0.5).serve(60)) == 4000


def test_it_follows_a_cluster_that_becomes_slower_and_faster() -> None:
    server = Server(QueueDelay(), rate=30_000, trip=0.001)
    server.serve(10)
    server.rate = 5_000
    slow = median(server.serve(10)[2000:])
    server.rate = 30_000
    fast = median(server.serve(10)[2000:])
    assert 400 <= slow <= 600
    assert 2500 <= fast <= 3600


def test_an_input_that_stands_still_does_it_no_harm() -> None:
    server = Server(QueueDelay(), rate=30_000, trip=0.001)
    *_, before = server.serve(0.9)
    server.serve(60, wanted=0.0)
    assert server.limiter.limit == before
    server.tell(before)
    assert server.limiter.limit >= before // 4
    assert median(server.serve(10)) == pytest.approx(before, rel=0.2)


def test_overload_halves_it_once_for_all_that_was_in_flight() -> None:
    server = Server(QueueDelay(min=10), rate=20_000, trip=0.001)
    *_, before = server.serve(0.9)
    for _ in range(before // 2):
        server.tell(0, overloads=1)
    assert server.limiter.limit == round(before / 2)
    server.tell(before)  # the rest of what was in flight
    server.tell(0, overloads=3)
    assert server.limiter.limit == round(round(before / 2) / 2)


def test_overload_while_less_is_tried_halves_what_there_was() -> None:
    server = Server(QueueDelay(), rate=20_000, trip=0.02)
    *_, before = server.serve(0.9)
    while server.limiter.limit == before:  # up to the first look
        server.serve(STEP)
    assert server.limiter.limit == before // 4
    for _ in range(before):
        server.tell(0, overloads=1)
    assert server.limiter.limit == round(before / 2)
    assert server.serve(0.5)[-1] >= round(before / 2)


def test_it_comes_back_in_small_steps() -> None:
    server = Server(QueueDelay(), rate=1e9, trip=0.01)
    server.serve(0.3)
    server.tell(0, overloads=1)
    limits = sorted(set(server.serve(0.6)))
    assert limits[0] == 2000
    assert limits[-1] == 4000
    for lower, higher in pairwise(limits):
        assert higher <= round(lower * WARY_GROWTH) + 1


# --- how short a round trip can be ----------------------------------------------------------


def test_it_takes_a_minute_for_a_way_that_is_longer_for_good() -> None:
    server = Server(QueueDelay(), rate=5_000, trip=0.002)
    assert median(server.serve(10)) == pytest.approx(5_000 * 0.12, rel=0.1)
    server.trip = 0.3
    assert max(server.serve(58)[5000:]) == 100
    assert median(server.serve(30)[-5000:]) == pytest.approx(5_000 * 0.4, rel=0.1)
    server.trip = 0.6
    server.serve(120)
    assert median(server.serve(10)) == pytest.approx(5_000 * 0.7, rel=0.1)
    server.trip = 0.002
    server.serve(90)  # up to a look at less
    assert median(server.serve(10)) < 5_000 * 0.3


def test_it_does_not_drift_up_on_a_slow_cluster() -> None:
    server = Server(QueueDelay(), rate=30_000, trip=0.001)
    server.serve(10)
    for rate in (500, 100, 500, 50, 500):
        server.rate = rate
        server.serve(200)
        assert max(server.serve(200)) <= 100 + rate * 0.1 + 2


def test_a_queue_of_others_is_not_taken_for_the_way_for_good() -> None:
    server = Server(QueueDelay(), rate=5_000, trip=0.002)
    server.serve(10)
    server.beside = 5_000
    assert server.serve(100)[-1] > 100
    server.beside = 0
    server.serve(150)
    assert median(server.serve(60)) <= 5_000 * 0.15


def test_two_do_not_drive_each_other_up() -> None:
    one, other = (Server(QueueDelay(), rate=5_000, trip=0.002) for _ in range(2))
    one.serve(5)
    most: list[int] = []
    for _ in range(round(400 / STEP)):
        one.beside, other.beside = other.limiter.limit, one.limiter.limit
        one.serve(STEP)
        other.serve(STEP)
        most.append(one.limiter.limit + other.limiter.limit)
    assert max(most) <= 5_000 * 0.4
    assert min(one.answered, other.answered) >= 0.2 * (one.answered + other.answered)


# --- where more is less ---------------------------------------------------------------------


@pytest.mark.parametrize("cliff", [110, 250, 1000, 2500])
@pytest.mark.parametrize("rate", [3_000, 30_000])
def test_it_does_not_stay_beyond_a_cliff(cliff: int, rate: int) -> None:
    server = Server(QueueDelay(), rate=rate, trip=0.002, cliff=cliff)
    server.serve(30)
    before = server.answered
    server.serve(120)
    assert server.answered - before >= 0.8 * 120 * rate


def test_it_goes_beyond_what_was_too_much_once_it_is_no_more() -> None:
    server = Server(QueueDelay(), rate=60_000, trip=0.002, cliff=250)
    assert max(server.serve(30)[10_000:]) < 1000
    server.cliff = inf
    assert median(server.serve(400)[-5000:]) == 4000


def test_a_look_at_less_is_short_and_seldom() -> None:
    server = Server(QueueDelay(), rate=60_000, trip=0.002)
    limits = server.serve(300)
    assert sum(limit == 1000 for limit in limits) * STEP <= 0.01 * 300


def test_drawn_servers_do_no_less_than_with_a_hundred_in_flight() -> None:
    # In ten or twenty seconds: what is lost is lost at the beginning.
    shares = []
    for seed, server in enumerate(drawn_servers(13, 120 if PROOF else 6)):
        found, beside = (
            last(play(server, limiter, 40_000, seed=seed), 0.6).throughput
            for limiter in (QueueDelay(), Fixed(100))
        )
        shares.append(found / beside if beside else 1.0)
    assert min(shares) >= 0.4
    assert sum(share >= 0.95 for share in shares) >= 0.8 * len(shares)


# --- what it is told ------------------------------------------------------------------------


def test_it_keeps_within_its_bounds_however_much_fails() -> None:
    limiter = QueueDelay(min=3, max=5)
    server = Server(limiter, rate=1e9, trip=0.01)
    for successes in (0, 1, 100) * 50:
        server.tell(successes, overloads=1)
        assert 3 <= limiter.limit <= 5
    server.serve(1)
    assert limiter.limit == 5


def test_answers_in_no_time_teach_nothing() -> None:
    limiter = QueueDelay()
    for _ in range(100):
        limiter.settled_many(successes=100, overloads=0, now=1.0)
    assert limiter.limit == 100


def test_it_may_be_told_of_each() -> None:
    limiter = QueueDelay(min=1, max=64)
    for _ in range(100):
        limiter.settled(seconds=0.1, in_flight=1, outcome="success")
        limiter.settled(seconds=0.1, in_flight=1, outcome="ignored")
    assert limiter.limit > 1
    before = limiter.limit
    limiter.settled(seconds=0.1, in_flight=1, outcome="overload")
    assert limiter.limit == round(before / 2)
