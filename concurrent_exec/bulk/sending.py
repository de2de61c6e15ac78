"""The executor of a bulk run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.query import tuple_factory

from concurrent_exec.executors import STRATEGIES, Executor, choose
from concurrent_exec.executors.auto import Choice
from concurrent_exec.model import Limiter, Observer, RetryPolicy
from concurrent_exec.pacing import AdaptiveConcurrency

BatchMode = Literal["disabled", "partition_key", "replica_set"]


def choice_of(session: Any, prepared: Any, executor: str, batch_mode: BatchMode) -> Choice:
    """Return which strategy is taken, and why.

    Raises ValueError where `executor` and `batch_mode` contradict each other.
    """
    if batch_mode != "disabled":
        if executor not in ("auto", "batch"):
            raise ValueError(f"batch_mode={batch_mode!r} needs executor 'batch', not {executor!r}")
        return Choice("batch", f"writes go in batches of one {batch_mode.replace('_', ' ')}")
    if executor == "auto":
        return choose(session, prepared)
    return Choice(executor, "it was asked for")


def make_executor(
    session: Any,
    choice: Choice,
    *,
    batch_mode: BatchMode,
    concurrency: int | Literal["adaptive"] | Limiter | None,
    max_per_second: float | None,
    retry: RetryPolicy | None,
    observers: Iterable[Observer],
) -> Executor[Any]:
    """Return an executor of that strategy; raises TypeError or ValueError naming an option."""
    options: dict[str, Any] = {}
    if concurrency is not None:
        options["concurrency"] = AdaptiveConcurrency() if concurrency == "adaptive" else concurrency
    if choice.name == "batch" and batch_mode != "disabled":
        options["batch_mode"] = batch_mode
    return STRATEGIES[choice.name](
        session, max_per_second=max_per_second, retry=retry, observers=observers, **options
    )


def profile_for(session: Any, *, timeout: float | None, consistency: int | None) -> Any:
    """Return the session's default profile with rows as tuples, and what else is given."""
    changes: dict[str, Any] = {"row_factory": tuple_factory}
    if timeout is not None:
        changes["request_timeout"] = timeout
    if consistency is not None:
        changes["consistency_level"] = consistency
    return session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, **changes)
