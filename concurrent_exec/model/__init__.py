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
from concurrent_exec.model.statistics import ExecutorStatistics, RunStatistics

__all__ = [
    "Clock",
    "ConcurrentExecError",
    "DeadlineExceededError",
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
    "Outcome",
    "ResponseFuture",
    "RetryPolicy",
    "RunClosedError",
    "RunOptions",
    "RunSettings",
    "RunStatistics",
    "Sending",
    "Session",
    "SkippedError",
    "SubmitOptions",
    "UnknownDriverError",
]
