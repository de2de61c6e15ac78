"""The asyncio face of the executors."""

from concurrent_exec.aio.executor import AsyncExecutor
from concurrent_exec.aio.results import AsyncResults

__all__ = ["AsyncExecutor", "AsyncResults"]
