"""The caller's end of a run: the ways to take its results, one after the other and at its end."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from concurrent_exec import (
    CallbackExecutor,
    Executor,
    ForkedProcessError,
    Results,
    RunClosedError,
)
from concurrent_exec.run import feeder
from concurrent_exec.testing import Reply, ScriptedSession, wait_until_quiet
from tests.executors import any_executor, in_one_process

MakeExecutor = Callable[..., Executor[Any]]
Take = Callable[[Results[Any]], list[Any]]

FORMS: dict[str, Take] = {
    "stream": list,
    "completed": lambda results: [result for _, result in results.as_completed()],
    "lists": lambda results: [
        result for taken in results.lists_as_completed() for _, result in taken
    ],
    "list": lambda results: results.all(),
    "future": lambda results: results.future().result(20),
}
any_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def answers_at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(at_once=True)


def numbered(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


@any_executor
@any_form
@pytest.mark.parametrize("kind", [list, iter])
def test_each_way_gives_all_that_was_not_taken_before(
    make_executor: MakeExecutor, form: Take, kind: Any
) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=ValueError()))
    executor = make_executor(session, concurrency=2)
    for buffersize in (1, 2, 100):
        results = executor.map(
            "q", kind(numbered(20)), buffersize=buffersize, raise_on_first_error=False
        )
        first = [next(results).index for _ in range(3)]
        assert first == [0, 1, 2]
        assert results.statistics().delivered == 3
        assert sorted(result.index for result in form(results)) == list(range(3, 20))
        assert results.statistics().delivered == 20


@any_executor
def test_what_comes_as_completed_has_the_index_of_its_statement(
    make_executor: MakeExecutor,
) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=ValueError()))
    executor = make_executor(session, concurrency=2)
    results = executor.map("q", numbered(20), buffersize=100, raise_on_first_error=False)
    assert next(results).index == 0
    pairs = list(results.as_completed())
    assert [index for index, _ in pairs] == [result.index for _, result in pairs]
    assert len(pairs) == 19


@any_executor
def test_a_closed_run_has_nothing_to_give(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)

    def closed() -> Results[Any]:
        results = executor.map("q", numbered(20))
        assert next(results).success
        results.close()
        assert results.statistics().delivered == 1
        return results

    assert list(closed()) == []
    assert list(closed().as_completed()) == []
    assert list(closed().lists_as_completed()) == []
    with pytest.raises(RunClosedError, match=r"^the run was closed before its end$"):
        closed().all()
    future = closed().future()
    assert isinstance(future.exception(20), RunClosedError)


@in_one_process
@pytest.mark.parametrize("form", ["stream", "completed", "lists"])
def test_a_close_amid_what_another_thread_does_is_one(
    make_executor: MakeExecutor, form: str
) -> None:
    """It waits for no lock, as it may be a finaliser's."""
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    results = executor.map("q", numbered(20), buffersize=16)
    wait_until_quiet(executor, session)
    assert next(results).success
    with executor._gate.lock:
        results.close()
    assert FORMS[form](results) == []


@any_executor
def test_a_run_that_is_fed_by_the_caller_has_no_future(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(answers_at_once))
    results = executor.map("q", iter(numbered(3)), feeder="caller")
    text = r"^a run with feeder='caller' has no future: nobody would feed it$"
    with pytest.raises(ValueError, match=text):
        results.future()
    assert len(list(results)) == 3


@any_executor
def test_a_future_hears_of_a_close(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(), concurrency=2)
    results = executor.map("q", numbered(20))
    future = results.future()
    assert not future.done()
    results.close()
    assert isinstance(future.exception(20), RunClosedError)


@in_one_process
def test_a_close_lets_go_of_what_was_not_taken(make_executor: MakeExecutor) -> None:
    class Row:
        pass

    rows: list[weakref.ref[Row]] = []

    def script(statement: Any, parameters: Any) -> Reply:
        row = Row()
        rows.append(weakref.ref(row))
        return Reply(rows=[row], at_once=True)

    session = ScriptedSession(script)
    executor = make_executor(session, concurrency=2)
    results = executor.map("q", numbered(100), buffersize=16)
    wait_until_quiet(executor, session)
    next(results)  # and with it some more have left the run
    wait_until_quiet(executor, session)
    results.close()
    gc.collect()
    assert len(rows) == 16
    assert not any(row() for row in rows)


@any_executor
def test_who_reads_waits_until_it_is_let_go(make_executor: MakeExecutor) -> None:
    """For whoever looks again and again instead takes all of a core."""
    session = ScriptedSession()
    executor = make_executor(session, concurrency=2)
    results: Any = executor.map("q", numbered(4))

    class Ticket:
        def acquire(self) -> None:
            wait_until_quiet(executor, session)
            for request in session.pending:
                request.succeed()
            wait_until_quiet(executor, session)

    results._run.consumers.ticket = Ticket
    assert len(list(results)) == 4


@any_executor
def test_nothing_left_to_take_is_not_the_end_while_another_thread_has_the_last(
    make_executor: MakeExecutor,
) -> None:
    """Given one that finds nothing, while another fills the batch with all that is left."""
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    results: Any = executor.map("q", numbered(20), buffersize=100)
    wait_until_quiet(executor, session)
    taken = results._taken
    found: list[Any] = []

    def and_another_fills_it() -> Any:
        item = taken()
        if not found:
            found.append(item)
            with executor._gate.lock:
                results._refill()
        return item

    results._taken = and_another_fills_it
    assert len(list(results)) == 20
    assert found == [None]


@any_executor
def test_results_and_executor_belong_to_their_process(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    results = executor.map("q", numbered(3))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    use: Callable[[], object]
    for use in (
        lambda: next(results),
        results.all,
        results.future,
        results.as_completed,
        results.lists_as_completed,
        results.statistics,
    ):
        with pytest.raises(ForkedProcessError, match=r"^these results belong .* forked child$"):
            use()
    for use in (
        lambda: executor.map("q", []),
        lambda: executor.execute([]),
        lambda: executor.submit("q"),
        executor.statistics,
        executor.shutdown,
    ):
        with pytest.raises(ForkedProcessError, match=r"^this executor belongs .* in the child$"):
            use()


def test_a_run_that_can_not_be_fed_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(**options: Any) -> None:
        raise RuntimeError("no more threads")

    executor = CallbackExecutor(ScriptedSession())
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no more threads"):
        patched.setattr(feeder, "Thread", no_thread)
        executor.map("q", iter(numbered(3)))
    assert executor.statistics().runs == 0
    executor.shutdown()
