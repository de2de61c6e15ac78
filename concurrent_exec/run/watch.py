"""Telling observers what happened, in the order in which it did."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from contextvars import copy_context
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from concurrent_exec.model import (
    Observer,
    RunFinished,
    RunStarted,
    RunStatistics,
    StatementRetried,
    StatementSettled,
    StatementStarted,
)

if TYPE_CHECKING:
    from concurrent_exec.run.gate import Gate
    from concurrent_exec.run.job import Job
    from concurrent_exec.run.run import Run

log = logging.getLogger(__name__)

BACKLOG = 1000
"""So many details may wait for slow observers before those who settle statements wait as well."""


_EVENTS = [name for name in vars(Observer) if name.startswith("on_")]


class Seat:
    """An observer, until it raises."""

    __slots__ = ("observer",)

    def __init__(self, observer: Observer) -> None:
        self.observer: Observer | None = observer


class News:
    """What is still to be told to the observers of one executor.

    It is noted under the gate's lock, as it happens, and told without: by one thread at a time,
    so that the order stays. Whoever has noted something tells it, unless another thread is just
    telling, which then tells that too.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._queue: deque[tuple[Watch, str, Any]] = deque()
        self._closed: deque[Run] = deque()
        self._discarded: deque[object] = deque()
        self._telling = Lock()
        self._teller: int | None = None

    @property
    def busy(self) -> bool:
        """Whether something is still to be told, or is being told."""
        return bool(self._queue) or self._telling.locked()

    def add(self, watch: Watch, event: str, details: Any) -> None:
        """Note what is to be told; takes no lock."""
        self._queue.append((watch, event, details))

    def closed(self, run: Run) -> None:
        """Note that a run was closed, which may be its end. Takes no lock: finalisers call it."""
        self._closed.append(run)

    def drop_later(self, discarded: object) -> None:
        """Keep what is to be dropped without the lock until something is told."""
        self._discarded.append(discarded)

    def tell(self, *, wait: bool = False) -> None:
        """Tell what there is, unless another thread is about it. Called without the gate's lock.

        wait: whether to wait for that one where it is far behind, so that who causes the news
            causes no more of it than can be told.
        """
        while self._queue or self._closed:
            behind = wait and len(self._queue) > BACKLOG and self._teller != get_ident()
            if not self._telling.acquire(blocking=behind):
                return
            self._teller = get_ident()
            try:
                self._tell_all()
            finally:
                self._teller = None
                self._telling.release()
            with self.gate.lock:
                self.gate.tell_if_idle()

    def _tell_all(self) -> None:
        while self._closed:
            run = self._closed.popleft()
            with self.gate.lock:
                discarded = run.end_if_over()
            del run, discarded  # outside the lock: the statements are the user's objects
        while self._discarded:
            self._discarded.popleft()
        while self._queue:
            watch, event, details = self._queue.popleft()
            watch.call(event, details)


class Watch:
    """Those who watch one run, or one submitted statement, and the context they are called in."""

    __slots__ = ("_context", "_news", "_seats", "_wanted", "run")

    def __init__(self, news: News, seats: Iterable[Seat], run: RunStarted | None) -> None:
        self.run = run
        self._news = news
        self._seats = tuple(seats)
        self._context = copy_context()
        observers = [seat.observer for seat in self._seats if seat.observer is not None]
        self._wanted = {
            event for event in _EVENTS if any(_defines(each, event) for each in observers)
        }

    def begins(self) -> None:
        """Note that the run begins, and tell."""
        self._add("on_run_started", self.run)
        self._news.tell()

    def started(self, job: Job) -> None:
        """Note that `job` is about to be handed to the session."""
        if "on_started" in self._wanted:
            self._add("on_started", StatementStarted(*self._facts(job)))

    def retried(self, job: Job, error: BaseException, delay: float) -> None:
        """Note that `job` has failed and will be sent again. Lock held."""
        if "on_retry" in self._wanted:
            facts = self._facts(job, error, self._seconds(job), delay, job.batch_size)
            self._add("on_retry", StatementRetried(*facts))

    def settled(self, job: Job, success: bool, value: Any) -> None:
        """Note the final outcome of `job`. Lock held."""
        if self.run is None and not job.attempts:
            return  # submitted and cancelled before its turn came: nobody has heard of it
        if "on_settled" in self._wanted:
            facts = self._facts(job, success, value, self._seconds(job), job.batch_size)
            self._add("on_settled", StatementSettled(*facts))

    def finished(self, statistics: RunStatistics, error: BaseException | None) -> None:
        """Note that the run has come to its end. Lock held."""
        assert self.run is not None
        self._add("on_finished", RunFinished(self.run, statistics, error))

    def closed(self, run: Run) -> None:
        """Note that the run was closed, as `News.closed` does."""
        self._news.closed(run)

    def drop_later(self, discarded: object) -> None:
        """Keep what is to be dropped, as `News.drop_later` does."""
        self._news.drop_later(discarded)

    def tell(self, *, wait: bool = False) -> None:
        """Tell what was noted, as `News.tell` does. Called without the lock."""
        self._news.tell(wait=wait)

    def call(self, event: str, details: Any) -> None:
        """Tell each of them, and see the last of one that raises."""
        for seat in self._seats:
            observer = seat.observer
            if observer is None:
                continue
            try:
                self._context.run(getattr(observer, event), details)
            except KeyboardInterrupt:
                raise
            except BaseException:  # also SystemExit, which would end the thread that takes answers
                seat.observer = None
                log.exception("%s raised, and is left out from now on", type(observer).__name__)

    def _add(self, event: str, details: Any) -> None:
        if event in self._wanted:
            self._news.add(self, event, details)

    def _facts(self, job: Job, *more: Any) -> tuple[Any, ...]:
        return (
            self.run,
            job.index,
            job.statement,
            job.parameters,
            job.attempts,
            job.in_flight,
            self._news.gate.limit,
            *more,
        )

    def _seconds(self, job: Job) -> float | None:
        return None if job.sent_at is None else self._news.gate.clock.monotonic() - job.sent_at


def _defines(observer: Observer, event: str) -> bool:
    """Say whether `observer` does anything at `event`."""
    method = getattr(observer, event)
    return getattr(method, "__func__", None) is not getattr(Observer, event)
