"""The strategies: who takes a statement, and who settles it."""

from concurrent_exec.executors.auto import STRATEGIES, choose, fitting
from concurrent_exec.executors.base import Executor
from concurrent_exec.executors.batching import BatchExecutor
from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.executors.direct import DirectExecutor
from concurrent_exec.executors.processes import ProcessExecutor
from concurrent_exec.executors.threads import ThreadExecutor

__all__ = [
    "STRATEGIES",
    "BatchExecutor",
    "CallbackExecutor",
    "DirectExecutor",
    "Executor",
    "ProcessExecutor",
    "ThreadExecutor",
    "choose",
    "fitting",
]
