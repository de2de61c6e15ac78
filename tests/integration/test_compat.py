"""Side by side with the drivers' own functions: the same statements, the same results."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import cassandra.concurrent
import pytest

import concurrent_exec
from tests.integration.support import Rows

pytestmark = pytest.mark.cluster

COUNT = 240

any_strategy = pytest.mark.parametrize("strategy", ["auto", "callback", "direct", "thread"])


def comparable(results: Any) -> list[Any]:
    """Return the results as plain values: rows, or the failure's type and text."""
    described: list[Any] = []
    for success, outcome in results:
        if success:
            described.append((True, list(outcome), outcome.column_names))
        else:
            described.append((False, type(outcome), str(outcome)))
    return described


def mixed(rows: Rows) -> list[Any]:
    """Statements of all kinds, of which some fail."""
    pairs: list[Any] = []
    for key in range(COUNT):
        pairs.append(
            [
                (rows.select, (rows.run, key)),
                (f"SELECT key, value FROM {rows.table} WHERE run = %s", (rows.run,)),
                (rows.insert, (rows.run, key, f"value {key}")),
                (f"SELECT * FROM missing_{key}", None),
                (rows.insert, (rows.run, f"key {key}", "wrong")),
                ("SELECT key FROM system.local", None),
            ][key % 6]
        )
    return pairs


@any_strategy
@pytest.mark.parametrize("generator", [False, True])
def test_execute_concurrent(strategy: Any, generator: bool, session: Any, rows: Rows) -> None:
    rows.fill(COUNT)
    arguments = (session, mixed(rows), 20, False, generator)
    theirs = cassandra.concurrent.execute_concurrent(*arguments)
    ours = concurrent_exec.execute_concurrent(*arguments, executor=strategy)
    assert comparable(ours) == comparable(theirs)


@any_strategy
@pytest.mark.parametrize("generator", [False, True])
def test_execute_concurrent_with_args(
    strategy: Any, generator: bool, session: Any, rows: Rows
) -> None:
    rows.fill(COUNT)
    keys = [*rows.keys(COUNT), (rows.run, "wrong"), (rows.run, COUNT), (rows.run,)]
    arguments: dict[str, Any] = {
        "concurrency": 20,
        "raise_on_first_error": False,
        "results_generator": generator,
        "execution_profile": "dicts",
    }
    functions = (
        cassandra.concurrent.execute_concurrent_with_args,
        concurrent_exec.execute_concurrent_with_args,
    )
    theirs, ours = (
        comparable(function(session, rows.select, keys, **arguments, **more))
        for function, more in zip(functions, ({}, {"executor": strategy}), strict=True)
    )
    assert ours == theirs
    assert ours[3] == (True, [{"value": "value 3"}], ["value"])


@any_strategy
def test_execute_concurrent_async(strategy: Any, session: Any, rows: Rows) -> None:
    rows.fill(COUNT)
    pairs = mixed(rows)
    # scylla-driver has no such function; the list is the same as that of the other one.
    function: Callable[..., Any] | None
    function = getattr(cassandra.concurrent, "execute_concurrent_async", None)
    if function is None:
        theirs = cassandra.concurrent.execute_concurrent(session, pairs, raise_on_first_error=False)
    else:
        theirs = function(session, pairs).result()
    ours = concurrent_exec.execute_concurrent_async(session, pairs, executor=strategy)
    assert comparable(ours.result(60)) == comparable(theirs)


@any_strategy
@pytest.mark.parametrize("generator", [False, True])
def test_the_first_failure_is_raised(
    strategy: Any, generator: bool, session: Any, rows: Rows
) -> None:
    rows.fill(COUNT)
    pairs: list[Any] = [(rows.select, key) for key in rows.keys(COUNT)]
    pairs[50] = ("SELECT * FROM missing", None)

    def outcome(function: Callable[..., Any], **options: Any) -> tuple[list[Any], str]:
        delivered: list[Any] = []
        with pytest.raises(cassandra.InvalidRequest) as caught:
            for result in function(session, pairs, 10, True, generator, **options):
                delivered.append(result)
        return comparable(delivered), str(caught.value)

    theirs = outcome(cassandra.concurrent.execute_concurrent)
    assert outcome(concurrent_exec.execute_concurrent, executor=strategy) == theirs
    assert len(theirs[0]) == (50 if generator else 0)
    gc.collect()  # the driver's own generator, left in the middle, is one of its cycles
