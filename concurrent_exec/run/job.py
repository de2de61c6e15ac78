"""One statement on its way."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from concurrent_exec.model import Failure, Sending

if TYPE_CHECKING:
    from concurrent_exec.run.lane import Lane
    from concurrent_exec.run.work import Work


class Job:
    """One attempt to send one statement of a run, or of a submit, until it has settled.

    Each further attempt is a job of its own, so that a late answer of an earlier one settles
    nothing: that one has settled.
    """

    __slots__ = (
        "attempts",
        "batch_size",
        "errors",
        "in_flight",
        "index",
        "lane",
        "parameters",
        "sending",
        "sent_at",
        "settled",
        "statement",
        "timestamp",
        "work",
    )

    def __init__(
        self,
        work: Work,
        index: int,
        statement: Any,
        parameters: Any,
        sending: Sending,
        lane: Lane | None = None,
    ) -> None:
        self.work = work
        self.index = index
        self.statement = statement
        self.parameters = parameters
        self.sending = sending
        self.lane = lane
        self.settled = False
        self.attempts = 0
        """How often it was handed to the session, this attempt included."""
        self.errors: tuple[BaseException, ...] = ()
        """What the attempts before this one failed with."""
        self.batch_size = 1
        """How many statements the message had that it was last sent in."""
        self.timestamp: int | None = None
        """Microseconds: the write timestamp of its first send, which later ones keep."""
        self.sent_at: float | None = None
        """When it was handed to the session, where a limiter or an observer wants to know."""
        self.in_flight = 0
        """How many were in flight then, itself included."""

    def again(self, error: BaseException) -> Job:
        """Return the job of the next attempt, after this one has failed with `error`."""
        job = copy(self)
        job.settled = False
        job.errors = (*self.errors, error)
        job.sent_at = None
        return job

    def last_error(self) -> BaseException:
        """Take back the error of the last attempt, where there will be no other."""
        *earlier, last = self.errors
        self.errors = tuple(earlier)
        return last

    def note_sending(self, now: float, in_flight: int) -> None:
        """Note when it is handed to the session, and how many are in flight then."""
        first = self.sent_at is None  # what goes a way of its own after all comes here twice
        self.sent_at = now
        self.in_flight = in_flight
        if first and self.sending.watch is not None:
            self.sending.watch.started(self)

    def failure(self) -> Failure:
        """Return what is told of it when it has failed."""
        return Failure(
            self.index,
            self.statement,
            self.parameters,
            self.attempts,
            self.errors,
            self.batch_size,
        )

    def succeed(self, value: Any) -> None:
        """Settle with the session's result; a job that has settled ignores it."""
        self.work.settle(self, True, value)

    def fail(self, exc: BaseException, *, sent: bool = True, again: bool = False) -> None:
        """Settle with what went wrong, unless it is to be sent again.

        sent: whether the session took it; not if the session itself raised `exc`.
        again: whether to send it again at once without asking the policy, because `exc` may be
            the doing of another statement in the same message.

        A job that has settled ignores it.
        """
        # The frames of a traceback would keep the driver's whole request alive with the result;
        # so would those of what was being handled meanwhile, which may even be the user's.
        exc.__traceback__ = exc.__context__ = None
        if exc.__cause__ is not None:
            exc.__cause__.__traceback__ = None
        self.work.settle(self, False, exc, sent=sent, again=again)
