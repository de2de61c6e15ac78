"""Run very many CQL statements concurrently, in order, through a strategy of your choice."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from concurrent_exec import drivers as _drivers  # first: it says what to install
from concurrent_exec.compat import (
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.executors import (
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    Executor,
    ProcessExecutor,
    ThreadExecutor,
)
from concurrent_exec.model import (
    Clock,
    ConcurrentExecError,
    CountingLimiter,
    DeadlineExceededError,
    ErrorCount,
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
    NotTransferableError,
    Observer,
    Outcome,
    RetryPolicy,
    RunClosedError,
    RunFinished,
    RunOptions,
    RunStarted,
    RunStatistics,
    Session,
    SkippedError,
    StatementRetried,
    StatementSettled,
    StatementStarted,
    SubmitOptions,
    UnknownDriverError,
    WorkerLostError,
)
from concurrent_exec.pacing import AdaptiveConcurrency, QueueDelay
from concurrent_exec.retry import Retry, at_most_once_profile
from concurrent_exec.run import Results

if TYPE_CHECKING:
    from concurrent_exec.comparing import Comparison, compare
    from concurrent_exec.drivers.coalescing import CoalescingConnection

__version__ = version("concurrent-exec")

del _drivers


def __getattr__(name: str) -> Any:
    # Imported when used: most programs never compare, and not every driver has libev.
    if name in ("Comparison", "compare"):
        from concurrent_exec import comparing

        return getattr(comparing, name)
    if name == "CoalescingConnection":
        from concurrent_exec.drivers import coalescing

        return coalescing.CoalescingConnection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AdaptiveConcurrency",
    "BatchExecutor",
    "CallbackExecutor",
    "Clock",
    "CoalescingConnection",
    "Comparison",
    "ConcurrentExecError",
    "CountingLimiter",
    "DeadlineExceededError",
    "DirectExecutor",
    "ErrorCount",
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
    "NotTransferableError",
    "Observer",
    "Outcome",
    "ProcessExecutor",
    "QueueDelay",
    "Results",
    "Retry",
    "RetryPolicy",
    "RunClosedError",
    "RunFinished",
    "RunOptions",
    "RunStarted",
    "RunStatistics",
    "Session",
    "SkippedError",
    "StatementRetried",
    "StatementSettled",
    "StatementStarted",
    "SubmitOptions",
    "ThreadExecutor",
    "UnknownDriverError",
    "WorkerLostError",
    "__version__",
    "at_most_once_profile",
    "compare",
    "execute_concurrent",
    "execute_concurrent_async",
    "execute_concurrent_with_args",
]
