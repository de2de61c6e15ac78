"""An observer that checks what it is told against what `Observer` promises."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Lock
from typing import Any

from concurrent_exec import (
    Observer,
    RunFinished,
    RunStarted,
    StatementRetried,
    StatementSettled,
    StatementStarted,
)

CALLER: ContextVar[str | None] = ContextVar("CALLER", default=None)
"""Whose context it is: the name of the run, which its statements have in them."""

Key = tuple[RunStarted | None, int]


class Witness(Observer):
    """Notes each breach of the promise in `breaches`, as what it raises would be lost."""

    def __init__(self) -> None:
        self.breaches: list[str] = []
        self.runs: dict[RunStarted, RunFinished | None] = {}
        self.starts: dict[Key, int] = {}
        self.retries: dict[Key, int] = {}
        self.settled: dict[Key, bool] = {}
        self._away: set[Key] = set()
        self._alone = Lock()

    def unfinished(self) -> list[RunStarted]:
        """The runs that began and have not finished."""
        return [run for run, finished in self.runs.items() if finished is None]

    def on_run_started(self, details: RunStarted) -> None:
        with self:
            self.hold(details not in self.runs, "a run began twice")
            self.runs[details] = None

    def on_started(self, details: StatementStarted) -> None:
        with self:
            key = self.key(details)
            self.starts[key] = self.starts.get(key, 0) + 1
            self.hold(details.attempts == self.starts[key], f"{key}: a start was not told")
            self.hold(key not in self._away, f"{key} was started, and started again")
            self.hold(key not in self.settled, f"{key} was started after it had settled")
            self.hold(details.in_flight >= 1, f"{key} was not in flight")
            self._away.add(key)

    def on_retry(self, details: StatementRetried) -> None:
        with self:
            key = self.key(details)
            self.hold(key in self._away, f"{key} failed without having been started")
            self.hold(details.seconds is not None, f"{key} took no time to fail")
            self.retries[key] = self.retries.get(key, 0) + 1
            self._away.discard(key)

    def on_settled(self, details: StatementSettled) -> None:
        with self:
            key = self.key(details)
            self.hold(key not in self.settled, f"{key} settled twice")
            self.hold(details.attempts == self.starts.get(key, 0), f"{key} had other attempts")
            self.hold(
                (details.seconds is not None) == (key in self._away),
                f"{key} took {details.seconds} s",
            )
            self.settled[key] = details.success
            self._away.discard(key)

    def on_finished(self, details: RunFinished) -> None:
        with self:
            run, counts = details.run, details.statistics
            self.hold(self.runs.get(run, details) is None, "a run finished twice, or unbegun")
            self.runs[run] = details
            outcomes = [success for key, success in self.settled.items() if key[0] is run]
            self.hold(len(outcomes) == counts.settled == counts.started, f"{details}: {outcomes}")
            self.hold(sum(outcomes) == counts.succeeded, f"{details}: {outcomes}")
            retries = sum(number for key, number in self.retries.items() if key[0] is run)
            self.hold(retries == counts.retries, f"{details}: {retries} retries")
            self.hold(not any(key[0] is run for key in self._away), f"{details}: {self._away}")

    def key(self, details: Any) -> Key:
        if details.run is not None:
            self.hold(self.runs.get(details.run, details) is None, f"{details} outside of its run")
        caller = CALLER.get() or "?"
        text = getattr(details.statement, "query_string", details.statement)
        self.hold(caller in text, f"{details} was told in the context of {caller}")
        return details.run, details.index

    def hold(self, condition: bool, breach: str) -> None:
        if not condition:
            self.breaches.append(breach)

    def __enter__(self) -> None:
        self.hold(self._alone.acquire(blocking=False), "two were told at once")

    def __exit__(self, *_: object) -> None:
        if self._alone.locked():
            self._alone.release()
