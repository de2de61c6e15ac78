"""A user's program, as it is written against an installed package: `make release` runs it in clean
environments, and checks its types with mypy and pyright."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Literal, assert_type

import cassandra
from cassandra.cqltypes import Int32Type

import concurrent_exec
from concurrent_exec import (
    AdaptiveConcurrency,
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    ExecutionResult,
    Executor,
    Results,
    Retry,
    ThreadExecutor,
    execute_concurrent_with_args,
)
from concurrent_exec.aio import AsyncExecutor
from concurrent_exec.testing import Reply, ScriptedSession

COUNT = 1_000
STRATEGIES: Sequence[type[Executor[Any]]] = [
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    ThreadExecutor,
]


def answer(statement: Any, parameters: Any) -> Reply:
    """Bring the key as the one row."""
    return Reply(rows=[(parameters[0],)], at_once=True)


def keys() -> Iterator[tuple[int]]:
    """Yield the parameters of every statement."""
    for key in range(COUNT):
        yield (key,)


def total(results: Results[Any]) -> int:
    """Return the sum of what came back, in the order of the input or not."""
    found = 0
    for result in results:
        assert_type(result, ExecutionResult[Any])
        found += result.unwrap().one()[0]
    return found


async def with_asyncio(session: ScriptedSession, statement: Any) -> int:
    """Return the same sum by the face for asyncio."""
    found = 0
    async with AsyncExecutor(CallbackExecutor(session)) as executor:
        async for result in executor.execute((statement, row) for row in keys()):
            found += result.unwrap().one()[0]
    return found


def main() -> Literal["done"]:
    """Run every strategy on a session that needs no cluster."""
    session = ScriptedSession(answer)
    read = session.as_prepared("SELECT v FROM t WHERE k = ?", {"k": Int32Type}, partition_key=["k"])
    wanted = sum(range(COUNT))
    for strategy in STRATEGIES:
        with strategy(session, concurrency=AdaptiveConcurrency(), retry=Retry()) as executor:
            assert total(executor.map(read, keys())) == wanted, strategy
    listed = execute_concurrent_with_args(session, read, keys(), concurrency=10)
    assert sum(result.unwrap().one()[0] for result in listed) == wanted
    assert asyncio.run(with_asyncio(session, read)) == wanted
    return "done"


if __name__ == "__main__":
    versions = f"concurrent-exec {concurrent_exec.__version__}, driver {cassandra.__version__}"
    print(f"{main()}: {versions}")
