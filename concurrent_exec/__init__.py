"""Run very many CQL statements concurrently, in order, through a strategy of your choice."""

from importlib.metadata import version

from concurrent_exec import drivers as _drivers  # first: it says what to install
from concurrent_exec.compat import (
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.executors import CallbackExecutor, Executor, ThreadExecutor
from concurrent_exec.model import (
    Clock,
    ConcurrentExecError,
    ExecutionResult,
    ExecutorShutdownError,
    ExecutorStatistics,
    Failure,
    ForkedProcessError,
    InvalidItemError,
    RunClosedError,
    RunStatistics,
    Session,
)
from concurrent_exec.run import Results

__version__ = version("concurrent-exec")

del _drivers

__all__ = [
    "CallbackExecutor",
    "Clock",
    "ConcurrentExecError",
    "ExecutionResult",
    "Executor",
    "ExecutorShutdownError",
    "ExecutorStatistics",
    "Failure",
    "ForkedProcessError",
    "InvalidItemError",
    "Results",
    "RunClosedError",
    "RunStatistics",
    "Session",
    "ThreadExecutor",
    "__version__",
    "execute_concurrent",
    "execute_concurrent_async",
    "execute_concurrent_with_args",
]
