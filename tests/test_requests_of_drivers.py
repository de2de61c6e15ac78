"""What is done to a driver's request to make it cheaper, on the driver's own ResponseFuture."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import ResponseFuture
from cassandra.connection import Timer
from cassandra.query import dict_factory, named_tuple_factory, tuple_factory

from concurrent_exec.drivers import answered, requests, result_set, sent
from tests.test_results_of_drivers import NAMES, ROWS, answer, future_of, heard


@pytest.fixture(autouse=True)
def no_classes_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_classes", {})


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def rows_of(names: list[str] = NAMES, rows: Any = ROWS, factory: Any = named_tuple_factory) -> Any:
    """Rows that come of a request, all the way from sending it."""
    future = future_of(factory=factory)
    sent(future)
    answer(future, rows, names)
    got = heard(future)
    answered(future)
    return result_set(future, got).all()


@pytest.mark.parametrize(
    "names",
    [
        ["k", "v"],
        ["[applied]", "count(*)"],
        ["class", "1st"],
        ["_hidden", "writetime(v)"],
    ],
)
def test_rows_are_as_the_drivers_own(names: list[str]) -> None:
    own = named_tuple_factory(names, ROWS)
    for ours in (rows_of(names), rows_of(names)):
        assert ours == own
        assert [repr(row) for row in ours] == [repr(row) for row in own]
        assert [row._asdict() for row in ours] == [row._asdict() for row in own]


def test_names_that_are_no_names(caplog: pytest.LogCaptureFixture) -> None:
    """The driver makes up others, and says so each time; with us it says so once."""
    with caplog.at_level(logging.WARNING, "cassandra.query"):
        first, second = rows_of(["v", "v"]), rows_of(["v", "v"])
    assert first == second == named_tuple_factory(["v", "v"], ROWS)
    assert len(caplog.messages) == 2  # ours, and the driver's own just now


def test_one_class_for_a_shape() -> None:
    first, second = rows_of(), rows_of()
    other = rows_of(["k", "w"])
    assert type(first[0]) is type(first[1]) is type(second[0])
    assert type(other[0]) is not type(first[0])
    assert other[0].w == "a"


def test_an_answer_without_rows_teaches_nothing() -> None:
    assert rows_of(rows=[]) == []
    assert rows_of()[0].v == "a"


def test_the_classes_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_CLASSES", 3)
    for number in range(10):
        assert rows_of([f"a{number}", "b"])[0][1] == "a"
        assert 1 <= len(requests._classes) <= 3


@pytest.mark.parametrize("factory", [dict_factory, tuple_factory, lambda names, rows: [len(rows)]])
def test_other_row_factories_are_left_alone(factory: Any) -> None:
    assert rows_of(factory=factory) == factory(NAMES, ROWS)


def test_what_is_asked_of_the_row_factory_later_finds_the_drivers_own() -> None:
    future = future_of()
    sent(future)
    answer(future, [(False, 7)], ["[applied]", "v"])
    answered(future)
    assert future.row_factory is named_tuple_factory
    assert result_set(future, heard(future)).was_applied is False


def timed() -> tuple[Any, list[Timer]]:
    """A request with a timeout, and the driver's queue of timers."""
    queue: list[Timer] = []

    def create_timer(delay: float, callback: Any) -> Timer:
        queue.append(Timer(delay, callback))
        return queue[-1]

    future = future_of()
    future.session.cluster.connection_class.create_timer = create_timer
    future.timeout = 10.0
    future._start_timer()
    assert len(queue) == 1
    return future, queue


@pytest.mark.usefixtures("no_collector")
def test_an_answered_request_goes_without_the_collector() -> None:
    future, queue = timed()
    gone = weakref.ref(future)
    answer(future)
    answered(future)
    del future
    assert gone() is None
    queue[0].callback()  # its timer is still there, and does nothing


@pytest.mark.usefixtures("no_collector")
def test_the_drivers_own_stays_until_its_timer_is_due() -> None:
    """Else the test above would show nothing."""
    future, queue = timed()
    alive = weakref.ref(future)
    answer(future)
    del future
    assert alive() is not None
    queue.clear()
    gc.collect()


def test_a_request_without_a_timeout() -> None:
    future = answer(future_of())
    answered(future)
    assert future._timer is None


@pytest.mark.parametrize("known", [True, False])
def test_what_is_not_known_is_left_alone(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherFuture(ResponseFuture):  # type: ignore[misc]
        pass

    monkeypatch.setattr(requests, "_known", known)
    future = future_of(kind=OtherFuture if known else ResponseFuture)
    future._timer = Timer(10.0, print)
    sent(future)
    answered(future)
    assert future.row_factory is named_tuple_factory
    assert future._timer.callback is print


def test_these_drivers_are_known() -> None:
    assert requests._known
