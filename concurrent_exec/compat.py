"""The drivers' own functions: changing the import is the whole migration."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from operator import index
from typing import Any, Literal, overload

from cassandra.cluster import EXEC_PROFILE_DEFAULT

from concurrent_exec.executors import STRATEGIES, Executor, choose
from concurrent_exec.model import ExecutionResult, Session
from concurrent_exec.model.options import one_of, positive_int
from concurrent_exec.run import Results

Strategy = (
    Literal["auto", "callback", "direct", "thread", "batch", "batch_replica_set"] | Executor[Any]
)
"""A strategy by its name, or an executor of your own making."""


@overload
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    results_generator: Literal[False] = False,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]]: ...
@overload
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    *,
    results_generator: Literal[True],
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    executor: Strategy = "auto",
) -> Results[Any]: ...
@overload
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int,
    raise_on_first_error: bool,
    results_generator: Literal[True],
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> Results[Any]: ...
@overload
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    *,
    results_generator: bool,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]: ...
@overload
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int,
    raise_on_first_error: bool,
    results_generator: bool,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]: ...
def execute_concurrent(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    results_generator: bool = False,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]:
    """Run (statement, parameters) pairs concurrently; return their results in input order.

    Takes the place of `cassandra.concurrent.execute_concurrent`, with its parameters.

    concurrency: statements in flight at once; an executor given as `executor` has its own.
    raise_on_first_error: stop at the first failure and raise it.
    results_generator: return an iterator that delivers results as they come, rather than a list.
    executor: "callback", "direct", "thread", "batch", "batch_replica_set", or an Executor over the
        same session; "auto" is the fastest strategy that changes nothing but the speed, by the
        rules of `executors.auto.choose`.

    Raises TypeError or ValueError naming an argument that is wrong, and what `Results` raises.
    """
    stream = bool(results_generator)
    chosen, ours = _executor(executor, session, concurrency)
    results = chosen.execute(
        _none_as_empty(statements_and_parameters),
        raise_on_first_error=bool(raise_on_first_error),
        feeder="thread" if stream else "caller",
        execution_profile=execution_profile,
    )
    if stream:
        return results
    try:
        return results.all()
    finally:
        if ours:
            chosen.shutdown(wait=False)


@overload
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    results_generator: Literal[False] = False,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]]: ...
@overload
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    *,
    results_generator: Literal[True],
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    executor: Strategy = "auto",
) -> Results[Any]: ...
@overload
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int,
    raise_on_first_error: bool,
    results_generator: Literal[True],
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> Results[Any]: ...
@overload
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    *,
    results_generator: bool,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]: ...
@overload
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int,
    raise_on_first_error: bool,
    results_generator: bool,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]: ...
def execute_concurrent_with_args(
    session: Session[Any],
    statement: Any,
    parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = True,
    results_generator: bool = False,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> list[ExecutionResult[Any]] | Results[Any]:
    """Run one statement with each of many parameters; all else is as in `execute_concurrent`.

    Takes the place of `cassandra.concurrent.execute_concurrent_with_args`.
    """
    stream = bool(results_generator)
    chosen, ours = _executor(executor, session, concurrency, statement)
    results = chosen.map(
        statement,
        parameters,
        raise_on_first_error=bool(raise_on_first_error),
        feeder="thread" if stream else "caller",
        execution_profile=execution_profile,
    )
    if stream:
        return results
    try:
        return results.all()
    finally:
        if ours:
            chosen.shutdown(wait=False)


def execute_concurrent_async(
    session: Session[Any],
    statements_and_parameters: Iterable[Any],
    concurrency: int = 100,
    raise_on_first_error: bool = False,
    execution_profile: Any = EXEC_PROFILE_DEFAULT,
    *,
    executor: Strategy = "auto",
) -> Future[list[ExecutionResult[Any]]]:
    """Start to run (statement, parameters) pairs; return at once a future of the list of results.

    Takes the place of cassandra-driver's `cassandra.concurrent.execute_concurrent_async`, which
    scylla-driver lacks. The future resolves for an empty input too; cancelling it stops the run.
    All else is as in `execute_concurrent`.
    """
    chosen, ours = _executor(executor, session, concurrency)
    future = chosen.execute(
        _none_as_empty(statements_and_parameters),
        raise_on_first_error=bool(raise_on_first_error),
        execution_profile=execution_profile,
    ).future()
    if ours:
        future.add_done_callback(lambda _: chosen.shutdown(wait=False))
    return future


def _executor(
    executor: Strategy, session: Session[Any], concurrency: int, statement: Any = None
) -> tuple[Executor[Any], bool]:
    """Return the executor to use, and whether it is this call's own."""
    concurrency = positive_int("concurrency", index(concurrency))
    if isinstance(executor, Executor):
        if executor.session is not session:
            raise ValueError("executor must be one over the same session that is given")
        return executor, False
    name = one_of("executor", executor, ("auto", *STRATEGIES))
    if name == "auto":
        name = choose(session, statement).name
    return STRATEGIES[name](session, concurrency=concurrency), True


def _none_as_empty(statements_and_parameters: Iterable[Any] | None) -> Iterable[Any]:
    # The drivers' function takes None for "nothing to do", and so do scripts written for it.
    return () if statements_and_parameters is None else statements_and_parameters
