"""The words of the library: results, failures, errors, options, protocols."""

from concurrent_exec.model.errors import (
    ConcurrentExecError,
    DeadlineExceededError,
    ExecutorShutdownError,
    ForkedProcessError,
    InvalidItemError,
    MaxErrorsExceededError,
    NoKeyError,
    NotSentError,
    RunClosedError,
    SkippedError,
    UnknownDriverError,
)
from concurrent_exec.model.observer import (
    Observer,
    RunFinished,
    RunStarted,
    StatementRetried,
    StatementSettled,
    StatementStarted,
)
from concurrent_exec.model.protocols import (
    Clock,
    FailedAttempt,
    Limiter,
    Outcome,
    ResponseFuture,
    RetryPolicy,
    Session,
)
from concurrent_exec.model.result import ExecutionResult, Failure
from concurrent_exec.model.settings import RunOptions, RunSettings, Sending, SubmitOptions
from concurrent_exec.model.statistics import ErrorCount, ExecutorStatistics, RunStatistics

__all__ = [
    "Clock",
    "ConcurrentExecError",
    "DeadlineExceededError",
    "ErrorCount",
    "ExecutionResult",
    "ExecutorShutdownError",
    "ExecutorStatistics",
    "FailedAttempt",
    "Failure",
    "ForkedProcessError",
    "InvalidItemError",
    "Limiter",
    "MaxErrorsExceededError",
    "NoKeyError",
    "NotSentError",
    "Observer",
    "Outcome",
    "ResponseFuture",
    "RetryPolicy",
    "RunClosedError",
    "RunFinished",
    "RunOptions",
    "RunSettings",
    "RunStarted",
    "RunStatistics",
    "Sending",
    "Session",
    "SkippedError",
    "StatementRetried",
    "StatementSettled",
    "StatementStarted",
    "SubmitOptions",
    "UnknownDriverError",
]
