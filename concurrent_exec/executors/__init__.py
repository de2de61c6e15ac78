"""The strategies: who takes a statement, and who settles it."""

from concurrent_exec.executors.base import Executor
from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.executors.direct import DirectExecutor
from concurrent_exec.executors.threads import ThreadExecutor

__all__ = ["CallbackExecutor", "DirectExecutor", "Executor", "ThreadExecutor"]
