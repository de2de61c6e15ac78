"""What the library itself raises. A statement's own failure is always the driver's exception.

ConcurrentExecError
+-- InvalidItemError (TypeError)         an item of the input is not a pair
+-- NoKeyError (ValueError)              `order_by` gives a statement no key to order it by
+-- NotSentError                         a statement failed without having been sent
|   +-- SkippedError                     an earlier one of its key had failed
|   +-- DeadlineExceededError (TimeoutError)   the run's time was over; also raised by the run
+-- MaxErrorsExceededError               more statements failed than the caller allowed
+-- ExecutorShutdownError (RuntimeError) the executor takes no more work
+-- ForkedProcessError (RuntimeError)    used in a child of the process that made it
+-- UnknownDriverError (TypeError)       a session that `DirectExecutor` can't see through
+-- RunClosedError (RuntimeError)        a list was asked of a run that was closed
+-- WorkerLostError                      a worker process ended before it had answered
+-- NotTransferableError (TypeError)     what can't go to a worker process or come back
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ConcurrentExecError(Exception):
    """The base of every exception that this library defines."""


class InvalidItemError(ConcurrentExecError, TypeError):
    """An item of the input is not a (statement, parameters) pair.

    `index` is the position of the item in the input, counted from 0.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(index, problem)
        self.index = index
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"item {self.index} of statements_and_parameters {self.problem}; "
            "each item must be a pair (statement, parameters), where parameters may be None"
        )


class NoKeyError(ConcurrentExecError, ValueError):
    """`order_by` has no key for a statement of the input.

    `index` is the position of the statement in the input, counted from 0 (None until the run has
    filled it in, so that functions for `order_by` can raise this); `reason` says why.
    """

    def __init__(self, index: int | None, reason: str) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason

    def __str__(self) -> str:
        return f"statement {self.index} of the input can't be ordered: {self.reason}"


class NotSentError(ConcurrentExecError):
    """The base of what a statement fails with that was never handed to the session."""


class SkippedError(NotSentError):
    """A statement was not sent, because an earlier one with the same key had failed.

    `after` is the index of the one that failed.
    """

    def __init__(self, after: int) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return f"not sent: statement {self.after}, which comes before it in its key, had failed"


class DeadlineExceededError(NotSentError, TimeoutError):
    """The run's deadline had passed before a statement was started, or the input at its end.

    `deadline` is in seconds from the start of the run. `pulled` is how many statements had been
    pulled from the input, where the run itself raises it; None where a statement failed with it.
    """

    def __init__(self, deadline: float, pulled: int | None = None) -> None:
        super().__init__(deadline, pulled)
        self.deadline = deadline
        self.pulled = pulled

    def __str__(self) -> str:
        passed = f"the run's deadline of {self.deadline:g} s had passed"
        if self.pulled is None:
            return f"not sent: {passed}"
        return (
            f"{passed} before the input was known to be at its end; "
            f"what there is from statement {self.pulled} on was not pulled"
        )


class MaxErrorsExceededError(ConcurrentExecError):
    """More statements failed than `max_errors` allows, so the run was ended.

    The message counts the failures by kind and names the first of each. It shows no message of
    the server's, which may quote values: `examples` has the failures themselves.
    """

    def __init__(
        self,
        max_errors: str,
        failed: int,
        finished: int,
        kinds: Mapping[str, int],
        examples: tuple[Any, ...],
    ) -> None:
        super().__init__(max_errors, failed, finished, kinds, examples)
        self.max_errors = max_errors
        """The limit as text: a number, or a percentage of what had finished."""
        self.failed = failed
        """How many statements had failed."""
        self.finished = finished
        """How many had finished, failed or not."""
        self.kinds = dict(kinds)
        """How many failed by the name of their exception's class, the most frequent first."""
        self.examples = examples
        """The first ExecutionResults to fail, up to three of each kind."""

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{count} {kind} (the first is statement {self._first(kind)})"
            for kind, count in self.kinds.items()
        )
        return (
            f"{self.failed} of {self.finished} finished statements have failed, which is more "
            f"than max_errors={self.max_errors}: {kinds}"
        )

    def _first(self, kind: str) -> int | None:
        return next(
            (each.index for each in self.examples if type(each.result_or_exc).__name__ == kind),
            None,
        )


class ExecutorShutdownError(ConcurrentExecError, RuntimeError):
    """The executor has been shut down: it takes no new work, or a run was cut short by it."""


class ForkedProcessError(ConcurrentExecError, RuntimeError):
    """An executor, or a Results of its, was used in a forked child of the process that made it.

    A driver's session does not survive a fork, so the child needs a session and an executor of
    its own.
    """


class UnknownDriverError(ConcurrentExecError, TypeError):
    """`DirectExecutor` was given a session whose driver it does not know from the inside.

    It uses what no driver promises to keep, so it refuses what it was not tested with. The message
    says what differs; `CallbackExecutor` takes any session.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"DirectExecutor can't use this session: {self.reason}; CallbackExecutor can"


class RunClosedError(ConcurrentExecError, RuntimeError):
    """A whole list was asked of a run that was closed before its end."""


class WorkerLostError(ConcurrentExecError):
    """The worker process that had a statement has gone, and its answer with it.

    The statement may have been applied: `Retry` judges it like one whose connection was lost.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            "the worker process that had the statement was lost before it had answered, so the "
            f"statement may have been applied: {self.reason}"
        )


class NotTransferableError(ConcurrentExecError, TypeError):
    """A statement or its result can't be pickled, or not be unpickled in the other process.

    `what` is "statement", "parameters", "options", "result" or "error". Where it is "result", the
    statement has succeeded; where it is "error", it has failed with one that can't be had here;
    else it was not sent. What unpickling has raised here is the `__cause__`.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        done = _DONE.get(self.what, "it was not sent:")
        return f"{done} its {self.what} can't go from one process to another ({self.reason})"


_DONE = {"result": "it succeeded, but", "error": "it failed, but"}
