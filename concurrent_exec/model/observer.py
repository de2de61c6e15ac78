"""What is told of runs and statements to those who watch, and how they hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from concurrent_exec.model.statement import short_text
from concurrent_exec.model.statistics import RunStatistics


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunStarted:
    """A run that begins. All later details of the run have this very object as their `run`."""

    statement: Any
    """The statement, where `map` runs one with many parameters; else None."""
    total: int | None
    """How many statements the input has; None where that is not known, as of a generator."""
    concurrency: int
    """The most statements that the executor has in flight at once, at this moment."""
    max_per_second: float | None
    """The executor's rate; None for none."""

    def __repr__(self) -> str:
        text = None if self.statement is None else short_text(self.statement)
        return f"RunStarted(statement={text!r}, total={self.total})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Details:
    """What all details of a statement have; no value of a parameter is in a repr."""

    run: RunStarted | None
    """The run it belongs to; None where it was submitted."""
    index: int
    """Its position in the run's input, or among what was submitted to the executor, from 0."""
    statement: Any
    """The statement as it was given."""
    parameters: Any
    """Its parameters as they were given."""
    attempts: int
    """How often it was handed to the session so far; 0 for one that never was."""
    in_flight: int
    """How many statements the executor had in flight when it was last handed over, itself
    included; 0 if it never was."""
    limit: int
    """The most statements that the executor has in flight at once, at this moment."""

    def __repr__(self) -> str:
        text = short_text(self.statement)
        kind = type(self).__name__
        return f"{kind}(index={self.index}, statement={text!r}, attempts={self.attempts})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StatementStarted(_Details):
    """A statement that is about to be handed to the session, for the first time or again."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StatementRetried(_Details):
    """A statement that failed, and will be sent again."""

    error: BaseException
    """What it failed with."""
    seconds: float | None
    """From the moment the session was given it to its failure."""
    delay: float
    """In how many seconds it will be sent again."""
    batch_size: int
    """How many statements the message had that it was sent in."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StatementSettled(_Details):
    """A statement whose outcome is final."""

    success: bool
    result_or_exc: Any
    """The session's result, or what it failed with at last."""
    seconds: float | None
    """From the moment the session was given it to its answer, the last time; None where it was
    not with the session: it was never sent, or was given up while it waited to be sent again."""
    batch_size: int
    """How many statements the message had that it was last sent in."""

    @property
    def error(self) -> BaseException | None:
        """What it failed with; None for a success."""
        return None if self.success else self.result_or_exc


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunFinished:
    """A run of which nothing is on its way any more and nothing will be."""

    run: RunStarted
    statistics: RunStatistics
    """Its counts. Results may still be waiting for their caller."""
    error: BaseException | None
    """What ended it early, or kept its input from its end: what its caller is raised."""

    def __repr__(self) -> str:
        kind = None if self.error is None else type(self.error).__name__
        return f"RunFinished(run={self.run!r}, error={kind}, statistics={self.statistics!r})"


class Observer:
    """Watches an executor, a run or a submitted statement: subclass it, and define what you want.

    All is told in the order in which it happened:

    - `on_run_started` before anything of the run, `on_finished` once, after everything of it
    - for each statement, `on_started` each time that it is handed to the session, `on_retry` each
      time that it fails and will be sent again, and `on_settled` once. A statement that never was
      handed to the session, because the deadline had passed for instance, only settles.
    - of a statement that is submitted, the same, but it has no run

    The observers of one executor are called one at a time, without any lock that anybody waits for,
    in whatever thread it happens, often the driver's I/O thread, and within the context
    (`contextvars`) of the caller of `execute`, `map` or `submit`. They must be quick, and neither
    block nor wait for anything of the executor's. One that raises is logged once and left out from
    then on.

    What is given to them refers to the user's statements, parameters and results: who keeps it
    keeps them.
    """

    __slots__ = ()

    def on_run_started(self, details: RunStarted) -> None:
        """Take note that a run begins."""

    def on_started(self, details: StatementStarted) -> None:
        """Take note that a statement is about to be handed to the session."""

    def on_retry(self, details: StatementRetried) -> None:
        """Take note that a statement has failed and will be sent again."""

    def on_settled(self, details: StatementSettled) -> None:
        """Take note that the outcome of a statement is final."""

    def on_finished(self, details: RunFinished) -> None:
        """Take note that a run has come to its end."""
