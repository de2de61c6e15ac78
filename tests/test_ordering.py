"""Statements of one key, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.query import BatchStatement, SimpleStatement

from concurrent_exec import Executor, NoKeyError, Results, SkippedError
from concurrent_exec.testing import Reply, ScriptedSession
from tests.executors import any_executor
from tests.test_retrying import Fixed, Stage, fail

MakeExecutor = Callable[..., Executor[Any]]


def by_first(statement: Any, parameters: Any) -> Any:
    return parameters[0]


def keys(stage: Stage) -> list[Any]:
    return [request.parameters for request in stage.pending]


def answer(stage: Stage, parameters: Any) -> None:
    (request,) = (each for each in stage.pending if each.parameters == parameters)
    request.succeed()


@any_executor
def test_one_key_after_another_and_different_keys_together(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=10)
    rows = [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)]
    results = stage.executor.map("q", rows, order_by=by_first)
    assert keys(stage) == [("a", 1), ("b", 1)]
    answer(stage, ("b", 1))
    assert keys(stage) == [("a", 1), ("b", 2)]
    answer(stage, ("b", 2))
    answer(stage, ("a", 1))
    assert keys(stage) == [("a", 2)]
    answer(stage, ("a", 2))
    answer(stage, ("a", 3))
    assert len(list(results)) == 5


@any_executor
def test_a_key_waits_while_its_statement_waits_to_be_sent_again(
    make_executor: MakeExecutor,
) -> None:
    stage = Stage(make_executor, concurrency=10)
    results = stage.executor.map("q", [("a", 1), ("a", 2)], order_by=by_first, retry=Fixed(1.0))
    fail(stage.pending[0])
    assert keys(stage) == []
    stage.pass_time(1.0)
    assert keys(stage) == [("a", 1)]
    answer(stage, ("a", 1))
    answer(stage, ("a", 2))
    assert all(result.success for result in results)


@any_executor
def test_a_hot_key_stalls_the_others_only_by_the_window(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=10)
    rows = [("hot", index) for index in range(6)] + [("cold", 0), ("cold", 1)]
    results = stage.executor.map("q", rows, order_by=by_first, buffersize=7)
    assert keys(stage) == [("cold", 0), ("hot", 0)]
    assert results.statistics().pulled == 7
    results.close()


@any_executor
@pytest.mark.parametrize("after_failure", [None, "continue"])
def test_by_default_later_ones_of_a_key_go_on_after_a_failure(
    make_executor: MakeExecutor, after_failure: Any
) -> None:
    stage = Stage(make_executor, concurrency=10)
    options = {} if after_failure is None else {"after_failure": after_failure}
    results = stage.executor.map(
        "q", [("a", 1), ("a", 2)], order_by=by_first, raise_on_first_error=False, **options
    )
    fail(stage.pending[0])
    answer(stage, ("a", 2))
    assert [result.success for result in results] == [False, True]


@any_executor
def test_later_ones_of_a_key_are_skipped_if_that_is_asked(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=10)
    rows = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)]
    results = stage.executor.map(
        "q", rows, order_by=by_first, after_failure="skip", raise_on_first_error=False
    )
    fail(stage.pending[0])
    answer(stage, ("b", 1))
    answer(stage, ("b", 2))
    outcome = list(results)
    assert [result.success for result in outcome] == [False, True, False, False, True]
    for skipped in (outcome[2], outcome[3]):
        assert isinstance(skipped.result_or_exc, SkippedError)
        assert skipped.result_or_exc.after == 0
        assert skipped.attempts == 0
    assert "statement 0" in str(outcome[2].result_or_exc)
    assert stage.session.sent == 3


@any_executor
def test_one_that_comes_long_after_the_failure_is_skipped_too(make_executor: MakeExecutor) -> None:
    """What keys have failed is remembered, whatever else is forgotten meanwhile."""

    def script(statement: Any, parameters: Any) -> Reply:
        return Reply(at_once=True, error=OperationTimedOut() if parameters[0] == "bad" else None)

    session = ScriptedSession(script)
    rows = [("bad", 0), *((index, 0) for index in range(500)), ("bad", 1)]
    with make_executor(session, concurrency=4) as executor:
        results: Results[Any] = executor.map(
            "q",
            rows,
            order_by=by_first,
            after_failure="skip",
            raise_on_first_error=False,
            buffersize=5,
        )
        outcome = list(results)
        assert results._run.lanes is not None
        assert len(results._run.lanes._lanes) < 20
    assert [result.success for result in outcome].count(False) == 2
    assert isinstance(outcome[-1].result_or_exc, SkippedError)


@any_executor
def test_a_fail_fast_run_raises_the_failure_though_others_before_it_were_not_sent(
    make_executor: MakeExecutor,
) -> None:
    stage = Stage(make_executor, concurrency=10)
    results = stage.executor.map("q", [("a", 1), ("a", 2), ("b", 1)], order_by=by_first)
    first, other = stage.pending
    fail(other)
    assert stage.pending == [
        first
    ]  # so that the run has heard of the failure before it is told more
    first.succeed()
    assert next(results).success
    with pytest.raises(OperationTimedOut) as caught:
        next(results)
    assert caught.value.failure.index == 2
    assert stage.session.sent == 2


@any_executor
def test_keys_are_made_and_compared_outside_the_lock(make_executor: MakeExecutor) -> None:
    class Key:
        def __init__(self, value: int) -> None:
            self.value = value

        def __hash__(self) -> int:
            assert not stage.executor._gate.lock.locked()
            return self.value

        def __eq__(self, other: object) -> bool:
            assert not stage.executor._gate.lock.locked()
            return isinstance(other, Key) and other.value == self.value

    stage = Stage(make_executor, concurrency=1)
    results = stage.executor.map(
        "q",
        [(index,) for index in range(30)],
        order_by=lambda _, row: Key(row[0] % 3),
        buffersize=30,
    )
    for index in range(30):
        answer(stage, (index,))
    assert len(list(results)) == 30


@any_executor
def test_what_order_by_raises_ends_the_run(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor)
    results = stage.executor.map("q", [("a",), ()], order_by=by_first)
    answer(stage, ("a",))
    assert next(results).success
    with pytest.raises(IndexError):
        next(results)


@any_executor
def test_a_key_without_a_hash_is_refused(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession())
    results = executor.map("q", [("a",)], order_by=lambda *_: ["a"])  # type: ignore[arg-type]
    with pytest.raises(NoKeyError, match=r"statement 0 .* no hash: list") as caught:
        next(results)
    assert caught.value.index == 0


@any_executor
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO t (k) VALUES (1)", "partition key is not known"),
        (SimpleStatement("INSERT"), "partition key is not known"),
        (BatchStatement(), "batch, which may span partitions"),
    ],
)
def test_a_statement_without_a_partition_key_is_refused(
    make_executor: MakeExecutor, statement: Any, reason: str
) -> None:
    executor = make_executor(ScriptedSession())
    with pytest.raises(NoKeyError, match=reason):
        next(executor.execute([(statement, None)], order_by="partition_key"))


@any_executor
def test_a_simple_statement_may_bring_its_routing_key(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=10)
    pairs = [(SimpleStatement("q", routing_key=key), (key,)) for key in (b"a", b"b", b"a")]
    results = stage.executor.execute(pairs, order_by="partition_key")
    assert keys(stage) == [(b"a",), (b"b",)]
    results.close()


@any_executor
def test_wrong_options_are_refused(make_executor: MakeExecutor) -> None:
    executor: Any = make_executor(ScriptedSession())
    with pytest.raises(TypeError, match="order_by must be a function"):
        executor.execute([], order_by="partition-key")
    with pytest.raises(TypeError, match="order_by must be a function"):
        executor.execute([], order_by=3)
    with pytest.raises(ValueError, match="after_failure must be one of 'continue', 'skip'"):
        executor.execute([], order_by=by_first, after_failure="stop")
    with pytest.raises(ValueError, match="it needs order_by"):
        executor.execute([], after_failure="skip")


@any_executor
def test_a_key_on_its_way_is_not_forgotten_with_the_others(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=3)
    rows = [(f"k{number}", 0) for number in range(5)] + [("a", 1), ("g", 1), ("a", 2)]
    results = stage.executor.map("q", rows, order_by=by_first, buffersize=3)
    for row in rows[:5]:
        answer(stage, row)
        assert next(results).success
    assert keys(stage) == [("a", 1), ("g", 1)]
    assert results.statistics().pulled == len(rows)
    results.close()
