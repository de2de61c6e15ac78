"""One statement on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent_exec.run.gate import Work


class Job:
    """One statement of a run, or of a submit, from the moment it is pulled until it settles."""

    __slots__ = ("attempts", "index", "parameters", "settled", "statement", "work")

    def __init__(self, work: Work, index: int, statement: Any, parameters: Any) -> None:
        self.work = work
        self.index = index
        self.statement = statement
        self.parameters = parameters
        self.attempts = 0
        self.settled = False

    @property
    def send_options(self) -> dict[str, Any]:
        """Keyword arguments for the session."""
        return self.work.send_options

    def begin(self) -> bool:
        """Say, when it is about to be sent, whether it is still wanted."""
        return True

    def succeed(self, value: Any) -> None:
        """Settle with the session's result; a job that has settled ignores it."""
        self.work.settle(self, True, value)

    def fail(self, exc: BaseException) -> None:
        """Settle with what went wrong; a job that has settled ignores it."""
        # The frames of a traceback would keep the driver's whole request alive with the result;
        # so would those of what was being handled meanwhile, which may even be the user's.
        exc.__traceback__ = exc.__context__ = None
        if exc.__cause__ is not None:
            exc.__cause__.__traceback__ = None
        self.work.settle(self, False, exc)
