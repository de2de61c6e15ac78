"""What makes a driver's request cheaper, from the moment it is sent until it is let go.

Two costs are not the statement's. A request and the timer of its timeout refer to each other, and
an answered request's timer stays in the driver's queue until its time has come, ten seconds later
by default: so every request lives that long, and only the garbage collector frees it. And the
driver's default row factory makes a class for every answer with rows, which takes longer than all
else that is done for a row. Both touch internals of the driver, and are left alone where these
are not as known.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import Any

import cassandra.connection
from cassandra.cluster import ResponseFuture
from cassandra.query import named_tuple_factory

from concurrent_exec.drivers.results import result_set

MOST_CLASSES = 1_000
"""So many row classes are kept; a program that has more shapes of results has them made anew."""

_classes: dict[tuple[str, ...], type[tuple[Any, ...]]] = {}


def _nothing() -> None:
    pass


_Timer = getattr(cassandra.connection, "Timer", None)
_known = (
    all(hasattr(ResponseFuture, name) for name in ("_timer", "row_factory"))
    and _Timer is not None
    and vars(_Timer(0, _nothing)).get("callback") is _nothing
)


def sent(future: Any) -> None:
    """Have the rows of a request that was just sent made in the quick way, if it has one."""
    if _known and type(future) is ResponseFuture and future.row_factory is named_tuple_factory:
        future.row_factory = named_tuples


def answered(future: Any) -> None:
    """Free an answered request of what it needs no more; else it is as the driver left it."""
    if not _known or type(future) is not ResponseFuture:
        return
    if future.row_factory is named_tuples:
        future.row_factory = named_tuple_factory  # `was_applied` knows the driver's own only
    timer = future._timer
    if type(timer) is _Timer:
        timer.callback = _nothing


class _Arrival:
    """Where a thread waits for an answer: a lock, which costs less than the request's own Event."""

    __slots__ = ("_bell", "error", "rows")

    def __init__(self) -> None:
        self.rows: Any = None
        self.error: BaseException | None = None
        self._bell = Lock()
        self._bell.acquire()

    def came(self, rows: Any) -> None:
        self.rows = rows
        self._bell.release()

    def broke(self, error: BaseException) -> None:
        self.error = error
        self._bell.release()

    def wait(self) -> None:
        self._bell.acquire()


def answer(future: Any) -> Any:
    """Wait for the answer to a request; return its ResultSet, or raise what went wrong."""
    if not _known or type(future) is not ResponseFuture:
        return future.result()
    arrival = _Arrival()
    future.add_callbacks(arrival.came, arrival.broke)
    arrival.wait()
    future.clear_callbacks()
    answered(future)
    if arrival.error is not None:
        raise arrival.error
    return result_set(future, arrival.rows)


def named_tuples(names: list[str], rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return what the driver's `named_tuple_factory` does, with one class for a shape of results.

    names: the columns' names.
    """
    shape = tuple(names)
    known = _classes.get(shape)
    if known is not None:
        return list(map(partial(tuple.__new__, known), rows))
    made: list[Any] = named_tuple_factory(names, rows)
    if made:
        if len(_classes) >= MOST_CLASSES:
            _classes.clear()
        _classes[shape] = type(made[0])
    return made
