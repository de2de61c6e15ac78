"""Run very many CQL statements concurrently, in order, through a strategy of your choice."""

from importlib.metadata import version

from concurrent_exec import drivers as _drivers  # first: it says what to install
from concurrent_exec.compat import (
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.executors import CallbackExecutor, DirectExecutor, Executor, ThreadExecutor
from concurrent_exec.model import (
    Clock,
    ConcurrentExecError,
    DeadlineExceededError,
    ExecutionResult,
    ExecutorShutdownError,
    ExecutorStatistics,
    FailedAttempt,
    Failure,
    ForkedProcessError,
    InvalidItemError,
    Limiter,
    MaxErrorsExceededError,
    NoKeyError,
    NotSentError,
    Outcome,
    RetryPolicy,
    RunClosedError,
    RunOptions,
    RunStatistics,
    Session,
    SkippedError,
    SubmitOptions,
    UnknownDriverError,
)
from concurrent_exec.pacing import AdaptiveConcurrency
from concurrent_exec.retry import Retry, at_most_once_profile
from concurrent_exec.run import Results

__version__ = version("concurrent-exec")

del _drivers

__all__ = [
    "AdaptiveConcurrency",
    "CallbackExecutor",
    "Clock",
    "ConcurrentExecError",
    "DeadlineExceededError",
    "DirectExecutor",
    "ExecutionResult",
    "Executor",
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
    "Results",
    "Retry",
    "RetryPolicy",
    "RunClosedError",
    "RunOptions",
    "RunStatistics",
    "Session",
    "SkippedError",
    "SubmitOptions",
    "ThreadExecutor",
    "UnknownDriverError",
    "__version__",
    "at_most_once_profile",
    "execute_concurrent",
    "execute_concurrent_async",
    "execute_concurrent_with_args",
]
