"""The words of the library: results, failures, errors, options, protocols."""

from concurrent_exec.model.errors import (
    ConcurrentExecError,
    ExecutorShutdownError,
    ForkedProcessError,
    InvalidItemError,
    RunClosedError,
)
from concurrent_exec.model.protocols import Clock, ResponseFuture, Session
from concurrent_exec.model.result import ExecutionResult, Failure
from concurrent_exec.model.statistics import ExecutorStatistics, RunStatistics

__all__ = [
    "Clock",
    "ConcurrentExecError",
    "ExecutionResult",
    "ExecutorShutdownError",
    "ExecutorStatistics",
    "Failure",
    "ForkedProcessError",
    "InvalidItemError",
    "ResponseFuture",
    "RunClosedError",
    "RunStatistics",
    "Session",
]
