"""The executor of a bulk run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Literal, get_args

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.query import tuple_factory

from concurrent_exec.executors import STRATEGIES, Executor, choose
from concurrent_exec.executors.auto import Choice
from concurrent_exec.model import Limiter, Observer, RetryPolicy
from concurrent_exec.model.options import one_of
from concurrent_exec.pacing import AdaptiveConcurrency, QueueDelay

BatchMode = Literal["disabled", "partition_key", "replica_set"]

A_HUNDRED_BATCHES = 3000
"""Statements in flight by default where nearly all go in batches, of some 30. With 1,000 a load of
a Cassandra on the same two cores took half as much CPU again (5.3 s, not 3.6 s, for 200,000 rows).
"""

LONGEST_QUEUE = 0.1
"""Seconds that a statement waits by default; less, where that is near its timeout."""


def choice_of(session: Any, prepared: Any, executor: str, batch_mode: BatchMode) -> Choice:
    """Return which strategy is taken, and why.

    Raises ValueError where one of them is none, or where they contradict each other.
    """
    one_of("executor", executor, ("auto", *STRATEGIES))
    one_of("batch_mode", batch_mode, get_args(BatchMode))
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
    timeout: float | None = None,
    observers: Iterable[Observer] = (),
) -> Executor[Any]:
    """Return an executor of that strategy; raises TypeError or ValueError naming an option."""
    if concurrency is None:
        concurrency = default_concurrency(choice, batch_mode, timeout)
    if concurrency == "adaptive":
        concurrency = AdaptiveConcurrency()
    options: dict[str, Any] = {"concurrency": concurrency}
    if choice.name == "batch" and batch_mode != "disabled":
        options["batch_mode"] = batch_mode
    return STRATEGIES[choice.name](
        session, max_per_second=max_per_second, retry=retry, observers=observers, **options
    )


def default_concurrency(
    choice: Choice, batch_mode: BatchMode, timeout: float | None
) -> int | QueueDelay:
    """Return the concurrency of that strategy where none is given.

    timeout: seconds that an answer may take; the session's own, some seconds, where it is None.
    """
    if batch_mode == "replica_set":
        return A_HUNDRED_BATCHES
    if choice.name == "direct":
        return QueueDelay(LONGEST_QUEUE if timeout is None else min(LONGEST_QUEUE, timeout / 20))
    strategy = STRATEGIES[choice.name]
    default: int = inspect.signature(strategy).parameters["concurrency"].default
    return default


def profile_for(session: Any, *, timeout: float | None, consistency: int | None) -> dict[str, Any]:
    """Return the keywords of a run that give rows as tuples, and what else is given.

    Raises ValueError where that is more than the session, which is no driver's own, can do.
    """
    changes: dict[str, Any] = {"row_factory": tuple_factory}
    if timeout is not None:
        changes["request_timeout"] = timeout
    if consistency is not None:
        changes["consistency_level"] = consistency
    clone = getattr(session, "execution_profile_clone_update", None)
    if clone is not None:
        return {"execution_profile": clone(EXEC_PROFILE_DEFAULT, **changes)}
    if len(changes) > 1:
        raise ValueError("timeout and consistency need a driver's own session")
    return {}


def required_markers(session: Any, prepared: Any) -> list[str]:
    """Return the markers that stand for a column of the table's clustering key.

    Errs towards none, where the driver knows nothing of the table.
    """
    markers = prepared.column_metadata or ()
    if not markers:
        return []
    keyspaces = session.cluster.metadata.keyspaces
    keyspace = keyspaces.get(markers[0].keyspace_name)
    table = keyspace and keyspace.tables.get(markers[0].table_name)
    clustering = {column.name for column in table.clustering_key} if table else set()
    return [marker.name for marker in markers if marker.name in clustering]
