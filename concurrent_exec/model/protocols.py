"""What the library needs of a session; those of both drivers have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from concurrent_exec.model.statement import short_text

R_co = TypeVar("R_co", covariant=True)


class ResponseFuture(Protocol):
    """The answer to come of one request."""

    def add_callbacks(
        self,
        callback: Callable[..., object],
        errback: Callable[..., object],
        callback_args: tuple[Any, ...] = (),
        callback_kwargs: Any = None,
        errback_args: tuple[Any, ...] = (),
        errback_kwargs: Any = None,
    ) -> object:
        """Have `callback(rows, *callback_args)` or `errback(exc, *errback_args)` called.

        Where the answer is there already, that happens before this returns.
        """

    def clear_callbacks(self) -> object:
        """Forget the callbacks, so that a further page does not call them again."""

    def result(self) -> Any:
        """Wait for the answer and return it, or raise what went wrong."""


class Session(Protocol[R_co]):
    """Sends statements; `R_co` is the type of a statement's result."""

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        """Send `query` and return its `ResponseFuture`."""

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> R_co:
        """Send `query`, wait for the answer and return it, or raise what went wrong."""


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from a start of no meaning."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Callable[[], object]:
        """Have `callback` called once, `delay` seconds from now, by any thread.

        Returns a function that cancels it, and takes no lock.
        """


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A statement that has just failed: what a `RetryPolicy` decides on."""

    statement: Any
    """The statement as it was given."""
    parameters: Any
    """Its parameters as they were given."""
    error: BaseException
    """What it failed with."""
    attempts: int
    """How often it has been handed to the session, this time included: at least 1."""
    sent: bool
    """Whether the session took it; False if the session raised instead, and so sent nothing."""
    assume_idempotent: bool
    """Whether the caller said so for the whole run."""
    batch_size: int = 1
    """How many statements the message had that failed. Above 1 the error is the whole batch's:
    one such as Unavailable, which else says that nothing was applied, then says it of a part."""

    def __repr__(self) -> str:
        text = short_text(self.statement)
        kind = type(self.error).__name__
        return f"FailedAttempt(statement={text!r}, error={kind}, attempts={self.attempts})"


class RetryPolicy(Protocol):
    """Decides whether a statement that failed is sent again, and when."""

    def delay(self, failed: FailedAttempt) -> float | None:
        """Return after how many seconds to send it again (0 for at once), or None for never.

        Called without a lock, on the thread that brought the answer: it must not block. What it
        raises ends the run.
        """


Outcome = Literal["success", "overload", "ignored"]
"""What an attempt says of the cluster's load: it bore it, it did not, or nothing at all."""


class Limiter(Protocol):
    """Says how many statements may be in flight; it computes, and enforces nothing.

    `limit` is read under a lock, so it must be a mere attribute or as good as one. `settled` is
    called without a lock, on the thread that brought the answer, by one thread or several at a
    time: it must not block. What it raises ends the run whose statement it was.
    """

    @property
    def limit(self) -> int:
        """How many statements may be in flight now: at least 1."""

    @property
    def max_limit(self) -> int:
        """The most that `limit` will ever be."""

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt that has come to its end.

        seconds: from the moment the session was given the statement to its answer.
        in_flight: how many were in flight when it was sent, itself included.
        outcome: "success"; "overload", for a timeout or a node that says it is overloaded; or
            "ignored", where its time says nothing, as of a statement that was refused as invalid.
        """


class CountingLimiter(Limiter, Protocol):
    """A limiter that need not know of each attempt: it is told of many at a time, which is cheap.

    `settled` is then never called, though it has to be there.
    """

    def settled_many(self, *, successes: int, overloads: int, now: float) -> None:
        """Take note of attempts that have come to their end at the same time.

        successes, overloads: how many; see `Outcome`. Others count for nothing.
        now: seconds of the executor's clock.
        """
