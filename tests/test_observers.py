"""What observers are told, beyond what the property suite checks of every schedule."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    Executor,
    FailedAttempt,
    Observer,
    RunFinished,
    RunStarted,
    StatementRetried,
    StatementSettled,
)
from concurrent_exec.aio import AsyncExecutor
from concurrent_exec.run import watch
from concurrent_exec.testing import (
    Reply,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from tests.executors import any_executor
from tests.integration.support import wait_for, wait_for_end_of_threads

MakeExecutor = Callable[..., Executor[Any]]
SECRET = "do not tell"


class Wrong(Exception):
    """What statements fail with."""


class Once:
    """A retry policy: one more attempt, after a second."""

    def delay(self, failed: FailedAttempt) -> float | None:
        return 1.0 if failed.attempts == 1 else None


class Recorder(Observer):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def keep(self, details: Any) -> None:
        self.told.append(details)

    on_run_started = on_started = on_retry = on_settled = on_finished = keep

    def names(self) -> list[str]:
        return [type(details).__name__ for details in self.told]

    def only(self, kind: type[Any]) -> list[Any]:
        return [details for details in self.told if isinstance(details, kind)]


def at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(at_once=True)


def answer_all(session: ScriptedSession) -> None:
    for request in session.pending:
        request.succeed()


@any_executor
def test_details_tell_what_happened_and_show_no_value(make_executor: MakeExecutor) -> None:
    clock, seen = VirtualClock(), Recorder()
    session = ScriptedSession(clock=clock)
    executor = make_executor(session, clock=clock, concurrency=1, observers=[seen], retry=Once())
    results = executor.map("q", [(SECRET,)], raise_on_first_error=False)
    wait_until_quiet(executor, session)
    clock.advance(2.0)
    session.pending[0].fail(Wrong(SECRET))
    wait_until_quiet(executor, session)
    clock.advance(1.0, settle=lambda: wait_until_quiet(executor, session))
    clock.advance(3.0)
    session.pending[0].fail(Wrong(SECRET))
    executor.shutdown()

    assert seen.names() == [
        *("RunStarted", "StatementStarted", "StatementRetried", "StatementStarted"),
        *("StatementSettled", "RunFinished"),
    ]
    run, first, retry, second, settled, finished = seen.told
    assert (run.statement, run.total, run.concurrency, run.max_per_second) == ("q", 1, 1, None)
    for details in (first, retry, second, settled):
        assert (details.run, details.index, details.statement) == (run, 0, "q")
        assert (details.parameters, details.in_flight, details.limit) == ((SECRET,), 1, 1)
    assert (first.attempts, retry.attempts, second.attempts, settled.attempts) == (1, 1, 2, 2)
    assert (retry.seconds, retry.delay, retry.error.args) == (2.0, 1.0, (SECRET,))
    assert (settled.seconds, settled.success, settled.batch_size) == (3.0, False, 1)
    assert settled.error is settled.result_or_exc is results.all()[0].result_or_exc
    assert (finished.run, finished.error) == (run, None)
    assert (finished.statistics.failed, finished.statistics.retries) == (1, 1)
    for details in seen.told:
        assert SECRET not in repr(details)
        with pytest.raises(FrozenInstanceError):
            setattr(details, fields(details)[0].name, None)
        assert not hasattr(details, "__dict__")


@any_executor
def test_those_of_executor_run_and_submit_hear_of_what_is_theirs(
    make_executor: MakeExecutor,
) -> None:
    whole, one, single = Recorder(), Recorder(), Recorder()
    with make_executor(ScriptedSession(at_once), observers=[whole]) as executor:
        executor.map("a", [(1,), (2,)], observers=[one]).all()
        executor.execute([("b", None)]).all()
        executor.submit("c", observers=(single,)).result()
    assert [details.statement for details in whole.only(StatementSettled)] == ["a", "a", "b", "c"]
    assert [details.statement for details in one.only(StatementSettled)] == ["a", "a"]
    assert single.names() == ["StatementStarted", "StatementSettled"]
    assert all(details.run is None for details in single.told)
    assert len(whole.only(RunStarted)) == len(whole.only(RunFinished)) == 2
    assert len(one.only(RunStarted)) == len(one.only(RunFinished)) == 1


@any_executor
@pytest.mark.parametrize("error", [Wrong, SystemExit])
def test_one_that_raises_is_logged_once_and_left_out(
    make_executor: MakeExecutor, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(Observer):
        calls = 0

        def on_settled(self, details: StatementSettled) -> None:
            self.calls += 1
            raise error

    breaks, seen = Breaks(), Recorder()
    with make_executor(ScriptedSession(at_once), observers=[breaks, seen]) as executor:
        assert len(executor.map("q", [(n,) for n in range(9)]).all()) == 9
        assert len(executor.map("q", [(n,) for n in range(9)]).all()) == 9
    assert breaks.calls == 1
    assert len(seen.only(StatementSettled)) == 18
    (record,) = caplog.records
    assert record.getMessage() == "Breaks raised, and is left out from now on"
    assert record.name == "concurrent_exec.run.watch"


VAR: ContextVar[str] = ContextVar("VAR", default="nobody's")


@any_executor
def test_they_are_called_in_the_context_of_the_caller(make_executor: MakeExecutor) -> None:
    heard: list[tuple[str, str]] = []

    class Hears(Observer):
        def on_settled(self, details: StatementSettled) -> None:
            heard.append((details.statement, VAR.get()))

        def on_finished(self, details: RunFinished) -> None:
            heard.append(("end", VAR.get()))

    session = ScriptedSession()
    executor = make_executor(session, observers=[Hears()])
    kept = []
    for name in ("a", "b"):
        VAR.set(f"{name}'s")
        kept.append(executor.map(name, [(1,)]))
    VAR.set("c's")
    executor.submit("c")
    VAR.set("another's")
    wait_until_quiet(executor, session)
    answering = threading.Thread(target=answer_all, args=(session,))
    answering.start()
    answering.join()
    executor.shutdown()
    assert sorted(heard) == [
        *(("a", "a's"), ("b", "b's"), ("c", "c's")),
        *(("end", "a's"), ("end", "b's")),
    ]


@any_executor
def test_an_observer_may_use_the_executor(make_executor: MakeExecutor) -> None:
    class Submits(Observer):
        def on_finished(self, details: RunFinished) -> None:
            assert executor.statistics().runs == 0
            futures.append(executor.submit("more"))

    futures: list[Any] = []
    session = ScriptedSession(at_once)
    with make_executor(session, observers=[Submits()]) as executor:
        executor.map("q", [(1,)]).all()
        wait_until_quiet(executor, session)
    assert len(futures) == 1
    assert futures[0].result(10) is not None


@any_executor
def test_a_submit_that_is_cancelled_in_time_is_not_told(make_executor: MakeExecutor) -> None:
    session, seen = ScriptedSession(), Recorder()
    executor = make_executor(session, concurrency=1, observers=[seen])
    first, second = executor.submit("first"), executor.submit("second")
    wait_until_quiet(executor, session)
    assert second.cancel()
    session.pending[0].succeed()
    executor.shutdown()
    assert first.done()
    assert {details.statement for details in seen.told} == {"first"}


@any_executor
@pytest.mark.parametrize("how", ["close", "drop"])
def test_what_a_closed_run_has_not_sent_again_settles(
    make_executor: MakeExecutor, how: str
) -> None:
    clock, seen = VirtualClock(), Recorder()
    session = ScriptedSession(clock=clock)
    executor = make_executor(session, clock=clock, observers=[seen], retry=Once())
    results: Any = executor.map("q", [(1,)])
    wait_until_quiet(executor, session)
    session.pending[0].fail(Wrong())
    wait_until_quiet(executor, session)
    assert not seen.only(StatementSettled)
    if how == "close":
        results.close()
    del results
    gc.collect()
    executor.shutdown()
    (settled,) = seen.only(StatementSettled)
    assert (settled.attempts, settled.seconds, type(settled.error)) == (1, None, Wrong)
    assert seen.names()[-1] == "RunFinished"
    assert seen.told[-1].statistics.failed == 1


@any_executor
def test_the_end_of_a_run_that_is_given_up_is_told_at_once(make_executor: MakeExecutor) -> None:
    source, session, seen = ScriptedInput(), ScriptedSession(), Recorder()
    executor = make_executor(session, clock=session.clock, observers=[seen], retry=Once())
    results = executor.map("q", source)
    source.give((1,))
    wait_until_quiet(executor, session)
    session.pending[0].fail(Wrong())
    wait_until_quiet(executor, session)
    source.fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        results.all()  # and what waits to be sent again is not
    assert seen.names()[-2:] == ["StatementSettled", "RunFinished"]
    assert type(seen.told[-1].error) is ZeroDivisionError


@any_executor
@pytest.mark.parametrize(
    "take", [next, lambda results: next(results.lists_as_completed())], ids=["stream", "lists"]
)
def test_the_end_of_a_run_whose_caller_is_interrupted_is_told_at_once(
    make_executor: MakeExecutor, take: Callable[[Any], object]
) -> None:
    session, seen = ScriptedSession(), Recorder()
    executor = make_executor(session, clock=session.clock, observers=[seen], retry=Once())

    def source() -> Iterator[tuple[int]]:
        yield (1,)
        wait_until_quiet(executor, session)
        session.pending[0].fail(Wrong())
        wait_until_quiet(executor, session)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(executor.map("q", source(), feeder="caller"))
    assert seen.names()[-2:] == ["StatementSettled", "RunFinished"]


@any_executor
def test_the_end_says_what_ended_a_run(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(error=Wrong(), at_once=True))
    seen = Recorder()
    with make_executor(session, concurrency=1, observers=[seen]) as executor:
        for take in (list, lambda results: results.all()):
            with pytest.raises(Wrong):
                take(executor.map("q", [(1,), (2,)]))
    ends = seen.only(RunFinished)
    assert [type(end.error) for end in ends] == [Wrong, Wrong]
    assert [end.statistics.failed for end in ends] == [1, 1]


@any_executor
@pytest.mark.parametrize("what", ["statement", "input"])
def test_the_end_says_it_though_the_caller_has_been_raised_it_before(
    make_executor: MakeExecutor, what: str
) -> None:
    def pairs() -> Iterator[tuple[str, tuple[int]]]:
        yield "q", (1,)
        if what == "input":
            raise Wrong
        yield "q", (2,)

    session, seen = ScriptedSession(), Recorder()
    executor = make_executor(session, observers=[seen])
    results = executor.execute(pairs())
    wait_until_quiet(executor, session)
    if what == "statement":
        session.pending[0].fail(Wrong())
    with pytest.raises(Wrong):
        results.all()
    assert not seen.only(RunFinished)
    session.pending[0].succeed()
    executor.shutdown()
    assert type(seen.told[-1].error) is Wrong


@any_executor
def test_a_submit_that_a_shutdown_keeps_from_being_sent_again_settles(
    make_executor: MakeExecutor,
) -> None:
    session, seen = ScriptedSession(), Recorder()
    executor = make_executor(session, clock=session.clock, observers=[seen], retry=Once())
    future = executor.submit("q")
    wait_until_quiet(executor, session)
    session.pending[0].fail(Wrong())
    wait_until_quiet(executor, session)
    executor.shutdown(cancel_futures=True)
    assert isinstance(future.exception(), Wrong)
    assert seen.names() == ["StatementStarted", "StatementRetried", "StatementSettled"]


@any_executor
def test_a_shutdown_waits_until_all_is_told(make_executor: MakeExecutor) -> None:
    told = 0
    go_on = threading.Event()

    class Slow(Observer):
        def on_settled(self, details: StatementSettled) -> None:
            nonlocal told
            go_on.wait(10)
            told += 1

    session = ScriptedSession()
    executor = make_executor(session, observers=[Slow()])
    future = executor.map("q", [(n,) for n in range(5)]).future()
    wait_until_quiet(executor, session)
    answering = threading.Thread(target=answer_all, args=(session,))
    answering.start()
    threading.Timer(0.05, go_on.set).start()
    executor.shutdown()
    assert told == 5
    assert len(future.result(10)) == 5
    answering.join()


def test_a_shutdown_returns_once_the_last_is_told() -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Slow(Observer):
        def on_finished(self, details: RunFinished) -> None:
            reached.set()
            go_on.wait(10)

    session = ScriptedSession()
    executor = CallbackExecutor(session, observers=[Slow()])
    results = executor.map("q", [(1,)])
    stopping = threading.Thread(target=executor.shutdown)
    answering = threading.Thread(target=answer_all, args=(session,))
    answering.start()
    assert reached.wait(10)
    stopping.start()
    wait_for(lambda: executor._gate.idle.tickets)
    assert stopping.is_alive()
    go_on.set()
    for thread in (answering, stopping):
        thread.join(20)
        assert not thread.is_alive()
    assert len(results.all()) == 1


def test_who_settles_waits_for_slow_observers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else what waits to be told, and the statements it refers to, would have no bound.
    monkeypatch.setattr(watch, "BACKLOG", 3)
    reached, go_on = threading.Event(), threading.Event()

    class Stuck(Observer):
        def on_settled(self, details: StatementSettled) -> None:
            reached.set()
            go_on.wait(10)

    session = ScriptedSession()
    executor = CallbackExecutor(session, observers=[Stuck()])
    results = executor.map("q", [(n,) for n in range(20)])
    first, *others = session.pending
    threads = [threading.Thread(target=first.succeed)]
    threads[0].start()
    assert reached.wait(10)
    answered: list[int] = []

    def answer() -> None:
        for number, request in enumerate(others):
            request.succeed()
            answered.append(number)

    threads.append(threading.Thread(target=answer))
    threads[1].start()
    news = executor._gate.news
    assert news is not None
    try:
        while len(news._queue) <= 3:
            pass
        assert answered == [0, 1, 2]
        # Who only sends, or comes to the end of an input, does not wait.
        executor.map("q", [(20,)])
        assert list(executor.map("q", iter(()), feeder="caller")) == []
    finally:
        go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(results.all()) == 20


def test_an_observer_may_cause_more_than_may_wait_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "BACKLOG", 3)
    session = ScriptedSession()

    class Answers(Observer):
        def on_settled(self, details: StatementSettled) -> None:
            answer_all(session)  # within which it can't wait for itself

    executor = CallbackExecutor(session, observers=[Answers()])
    results = executor.map("q", [(n,) for n in range(20)])
    session.pending[0].succeed()
    assert len(results.all()) == 20


def test_what_one_does_may_be_set_on_it_alone() -> None:
    class Empty(Observer):
        pass

    ends: list[RunFinished] = []
    observer: Any = Empty()
    observer.on_finished = ends.append
    with CallbackExecutor(ScriptedSession(at_once), observers=[observer]) as executor:
        executor.map("q", [(1,)]).all()
    assert len(ends) == 1


def test_details_of_a_batch_tell_its_size() -> None:
    session, seen = ScriptedSession(), Recorder()
    insert = session.as_prepared(
        "INSERT INTO scripted.rows (k) VALUES (?)", {"k": Int32Type}, partition_key=["k"]
    )
    insert.is_idempotent = True
    executor = BatchExecutor(session, batch_mode="replica_set", linger=0, observers=[seen])
    results = executor.map(insert, [(1,), (2,), (3,)])
    wait_until_quiet(executor, session)
    (batch,) = session.pending
    batch.fail(Wrong())  # and each is sent alone
    wait_until_quiet(executor, session)
    answer_all(session)
    assert len(results.all()) == 3
    assert [details.batch_size for details in seen.only(StatementRetried)] == [3, 3, 3]
    assert {details.in_flight for details in seen.only(StatementRetried)} == {3}
    assert [details.batch_size for details in seen.only(StatementSettled)] == [1, 1, 1]


@any_executor
def test_the_asyncio_face_has_them_too(make_executor: MakeExecutor) -> None:
    seen = Recorder()

    async def main() -> None:
        async with AsyncExecutor(make_executor(ScriptedSession(at_once))) as executor:
            await executor.map("q", [(1,)], observers=[seen])

    asyncio.run(main())
    assert seen.names() == ["RunStarted", "StatementStarted", "StatementSettled", "RunFinished"]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "not NoneType"),
        (Observer(), "not Observer"),
        (Observer, "not type"),
        ([Observer], "not of the class Observer"),
        ([object()], "not of object"),
        ("all", "not of str"),
    ],
)
def test_what_is_no_list_of_observers_is_refused(value: Any, what: str) -> None:
    message = f"^observers must be a list of Observer objects, {what}$"
    with pytest.raises(TypeError, match=message):
        CallbackExecutor(ScriptedSession(), observers=value)
    executor = CallbackExecutor(ScriptedSession())
    with pytest.raises(TypeError, match=message):
        executor.map("q", [], observers=value)
    with pytest.raises(TypeError, match=message):
        executor.submit("q", observers=value)


def test_without_observers_nothing_is_kept_for_them() -> None:
    with CallbackExecutor(ScriptedSession(at_once)) as executor:
        executor.map("q", [(1,)]).all()
        assert executor._gate.news is None
        assert not executor._gate.notes_sending


# ---- statistics ----


@any_executor
def test_statistics_tell_of_each_run_and_of_the_last_errors(make_executor: MakeExecutor) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock=clock, timeout=None)
    executor = make_executor(session, clock=clock, concurrency=2)
    long = executor.map("long", [(SECRET,), (SECRET,)], raise_on_first_error=False)
    wait_until_quiet(executor, session)
    clock.advance(1.0)
    short = executor.map("short", [(1,)], raise_on_first_error=False)
    wait_until_quiet(executor, session)
    statistics = executor.statistics()
    assert [run.in_flight for run in statistics.by_run] == [2, 0]
    assert [run.elapsed for run in statistics.by_run] == [1.0, 0.0]
    assert (statistics.concurrency, statistics.in_flight, statistics.runs) == (2, 2, 2)
    assert statistics.errors == ()

    for error, seconds in ((Wrong, 1.0), (LookupError, 3.0), (Wrong, 0.5)):
        session.pending[0].fail(error(SECRET))
        wait_until_quiet(executor, session)
        clock.advance(seconds)
    statistics = executor.statistics()
    assert [(each.kind, each.count) for each in statistics.errors] == [
        ("Wrong", 2),
        ("LookupError", 1),
    ]
    assert [each.seconds_ago for each in statistics.errors] == [0.5, 3.5]
    assert statistics.by_run == ()
    assert SECRET not in repr(statistics)
    assert pickle.loads(pickle.dumps(statistics)) == statistics
    assert len(long.all()) + len(short.all()) == 3


def test_only_the_latest_kinds_of_errors_are_kept() -> None:
    kinds = [type(f"Wrong{number}", (Exception,), {}) for number in range(30)]
    session = ScriptedSession(
        lambda _, parameters: Reply(error=kinds[parameters[0]](), refuse=True)
    )
    executor = CallbackExecutor(session)
    executor.map("q", [(n,) for n in range(30)], raise_on_first_error=False).all()
    latest = [f"Wrong{number}" for number in range(29, 9, -1)]
    assert [each.kind for each in executor.statistics().errors] == latest


@pytest.mark.parametrize("waits", [False, True], ids=["pulled ahead", "to be sent again"])
def test_what_a_dropped_run_lets_go_at_its_end_is_let_go_without_the_lock(waits: bool) -> None:
    """It is the user's, and its finaliser may use the executor."""
    held: list[bool] = []
    ends: list[RunFinished] = []

    class Parameters(list[int]):
        def __del__(self) -> None:
            held.append(executor._gate.lock.locked())

    class Hears(Observer):
        def on_finished(self, details: RunFinished) -> None:
            ends.append(details)

    session = ScriptedSession(timeout=None)
    executor = CallbackExecutor(session, concurrency=1, observers=[Hears()], retry=Once())
    results = executor.map("q", (Parameters() for _ in range(2)))
    wait_until_quiet(executor, session)
    if waits:
        session.pending[0].fail(Wrong())
        wait_until_quiet(executor, session)
    (request,) = session.pending
    del results
    request.succeed()
    del request
    wait_until_quiet(executor, session)
    assert len(ends) == 1
    gc.collect()
    assert held
    assert not any(held)


def test_nothing_of_a_dropped_run_is_kept_once_that_is_told() -> None:
    """Given a run with a generator, whose feeder tells of its end."""
    before = set(threading.enumerate())
    seen = Recorder()
    session = ScriptedSession(at_once)
    executor = CallbackExecutor(session, observers=[seen])
    results: Any = executor.execute((("q", (n,)) for n in iter(int, 1)), buffersize=4)
    next(results)
    del results
    gc.collect()
    executor.shutdown()
    assert seen.names()[-1] == "RunFinished"
    wait_for_end_of_threads(before)
    assert not list(executor._runs)
