"""What the library itself raises. A statement's own failure is always the driver's exception.

ConcurrentExecError
+-- InvalidItemError (TypeError)         an item of the input is not a pair
+-- ExecutorShutdownError (RuntimeError) the executor takes no more work
+-- ForkedProcessError (RuntimeError)    used in a child of the process that made it
+-- RunClosedError (RuntimeError)        a list was asked of a run that was closed
"""

from __future__ import annotations


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


class ExecutorShutdownError(ConcurrentExecError, RuntimeError):
    """The executor has been shut down: it takes no new work, or a run was cut short by it."""


class ForkedProcessError(ConcurrentExecError, RuntimeError):
    """An executor, or a Results of its, was used in a forked child of the process that made it.

    A driver's session does not survive a fork, so the child needs a session and an executor of
    its own.
    """


class RunClosedError(ConcurrentExecError, RuntimeError):
    """A whole list was asked of a run that was closed before its end."""
