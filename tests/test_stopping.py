"""Stop means stop, and nothing is left behind."""

from __future__ import annotations

import gc
import itertools
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from concurrent_exec import Executor, ExecutorShutdownError, Retry, RunClosedError
from concurrent_exec.executors import threads as threads_module
from concurrent_exec.testing import Reply, ScriptedInput, ScriptedSession, wait_until_quiet
from tests.executors import EXECUTORS, any_executor, in_one_process

MakeExecutor = Callable[..., Executor[Any]]


def answers_at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(at_once=True)


def ours() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("concurrent_exec")}


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for what a thread of its own brings about; a hang is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)


def numbers() -> Iterator[tuple[str, tuple[int]]]:
    return (("q", (index,)) for index in itertools.count())


PAIRS = [("q", (index,)) for index in range(1000)]


@any_executor
@pytest.mark.parametrize("source", [lambda: PAIRS, numbers], ids=["list", "stream"])
@pytest.mark.parametrize("how", ["close", "with", "del", "raise in with", "generator"])
def test_nothing_is_sent_after_the_stop(
    make_executor: MakeExecutor, source: Callable[[], Any], how: str
) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=3)
    results: Any = executor.execute(source(), buffersize=10)
    wait_until_quiet(executor, session)
    if how == "close":
        results.close()
        results.close()
    elif how == "with":
        with results:
            pass
    elif how == "raise in with":
        with pytest.raises(ZeroDivisionError), results:
            raise ZeroDivisionError
    elif how == "generator":
        completed = results.as_completed()
        del results
        answered = session.pending[1]
        answered.succeed()
        assert next(completed)[0] == answered.parameters[0]
        wait_until_quiet(executor, session)
        del completed
    else:
        del results
    sent = session.sent
    for request in session.pending:
        request.succeed()
    wait_until_quiet(executor, session)
    assert session.sent == sent
    assert executor.statistics().in_flight == 0
    executor.shutdown()


@in_one_process
def test_after_a_failure_nothing_is_sent_and_the_list_form_raises_at_once(
    make_executor: MakeExecutor,
) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=4)
    raised: list[BaseException] = []

    def caller() -> None:
        try:
            executor.execute(PAIRS).all()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=caller)
    thread.start()
    wait_until_sent(session, 4)
    error = ValueError("mine")
    session.pending[2].fail(error)
    thread.join(20)  # the other three have no answer yet
    assert raised == [error]
    assert len(session.pending) == 3
    assert session.sent == 4
    for request in session.pending:
        request.succeed()
    wait_until_quiet(executor, session)
    assert session.sent == 4


def wait_until_sent(session: ScriptedSession, count: int) -> None:
    wait_for(lambda: len(session.pending) >= count)


@any_executor
def test_a_stream_hands_over_what_comes_before_the_failure(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=4)
    results = executor.execute(PAIRS)
    wait_until_quiet(executor, session)
    pending = {request.parameters[0]: request for request in session.pending}
    pending[2].fail(ValueError("mine"))
    wait_until_quiet(executor, session)
    pending[3].succeed()
    pending[0].succeed()
    pending[1].succeed()
    assert [next(results).success, next(results).success] == [True, True]
    with pytest.raises(ValueError, match="mine"):
        next(results)
    assert list(results) == []
    assert session.sent == 4


@any_executor
def test_a_closed_run_wakes_who_waits_for_it(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(), concurrency=2)
    streaming = executor.execute(PAIRS)
    completing = executor.execute(PAIRS)
    collecting = executor.execute(PAIRS)
    outcome: dict[str, Any] = {}

    def caller(name: str, call: Callable[[], Any]) -> None:
        try:
            outcome[name] = call()
        except BaseException as exc:
            outcome[name] = type(exc)

    callers = [
        threading.Thread(target=caller, args=("next", lambda: next(streaming))),
        threading.Thread(
            target=caller, args=("completed", lambda: list(completing.as_completed()))
        ),
        threading.Thread(target=caller, args=("all", collecting.all)),
    ]
    for each in callers:
        each.start()
    time.sleep(0.05)
    for results in (streaming, completing, collecting):
        results.close()
    for each in callers:
        each.join(20)
    assert outcome == {"next": StopIteration, "completed": [], "all": RunClosedError}


@any_executor
def test_a_future_can_be_cancelled(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=2)
    future = executor.execute(numbers()).future()
    wait_until_quiet(executor, session)
    assert future.cancel()
    for request in session.pending:
        request.succeed()
    wait_until_quiet(executor, session)
    assert session.sent == 2
    with pytest.raises(CancelledError):
        future.result()


@any_executor
def test_a_future_goes_on_though_the_results_are_dropped(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    future = executor.execute(("q", (index,)) for index in range(100)).future()
    gc.collect()
    assert len(future.result(20)) == 100


@any_executor
def test_shutdown_sends_what_was_taken_and_says_what_was_not(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=2)
    results = executor.execute(numbers(), buffersize=5)
    futures = [executor.submit("s") for _ in range(4)]
    wait_until_quiet(executor, session)
    thread = threading.Thread(target=executor.shutdown)
    thread.start()
    served = 0
    while served < 9:
        for request in session.pending:
            request.succeed()
            served += 1
    thread.join(20)
    assert not thread.is_alive()
    assert session.sent == 9
    assert all(future.done() for future in futures)
    assert [next(results).success for _ in range(5)] == [True] * 5
    with pytest.raises(
        ExecutorShutdownError,
        match=r"^the executor was .* input .* from statement 5 on was not sent$",
    ):
        next(results)
    text = "^the executor has been shut down and takes no new work$"
    for start in (
        lambda: executor.submit("s"),
        lambda: executor.execute([]),
        lambda: executor.map("s", []),
    ):
        with pytest.raises(ExecutorShutdownError, match=text):
            start()


@any_executor
def test_shutdown_that_cancels_sends_nothing_more(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=2)
    results = executor.execute(numbers(), buffersize=5)
    wait_until_quiet(executor, session)
    futures = [executor.submit("s") for _ in range(4)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    for request in session.pending:
        request.succeed()
    executor.shutdown()
    assert session.sent == 2
    assert [next(results).success for _ in range(2)] == [True] * 2
    with pytest.raises(ExecutorShutdownError):
        next(results)


@any_executor
def test_shutdown_waits_for_neither_a_blocked_input_nor_a_sleeping_consumer(
    make_executor: MakeExecutor,
) -> None:
    source = ScriptedInput()
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    blocked = executor.execute(source)
    sleeping = executor.execute(numbers())
    waiting = executor.execute(source).future()
    executor.shutdown()
    for results in (blocked, sleeping):
        with pytest.raises(ExecutorShutdownError):
            list(results)
    with pytest.raises(ExecutorShutdownError):
        waiting.result(20)
    source.end()
    source.end()


@any_executor
def test_an_exception_out_of_the_block_cancels(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(answers_at_once)
    with pytest.raises(ZeroDivisionError), make_executor(session, concurrency=2) as executor:
        results = executor.execute(numbers(), buffersize=3)
        raise ZeroDivisionError
    with pytest.raises(ExecutorShutdownError):
        list(results)


@any_executor
def test_a_submit_that_is_cancelled_in_the_queue_is_not_sent(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=1)
    first, second, third = (executor.submit("s", (index,)) for index in range(3))
    wait_until_quiet(executor, session)
    assert executor.statistics().queued == 2
    assert second.cancel()
    assert not first.cancel()
    session.pending[0].succeed(["one"])
    wait_until_quiet(executor, session)
    assert [request.parameters for request in session.pending] == [(2,)]
    session.pending[0].fail(ValueError("mine"))
    assert first.result(20) is not None
    with pytest.raises(ValueError, match="mine"):
        third.result(20)
    wait_until_quiet(executor, session)
    assert executor.statistics().in_flight == 0


@any_executor
def test_futures_are_done_when_shutdown_returns(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_result = Future.set_result

    def set_late(future: Future[Any], result: Any) -> None:
        time.sleep(0.1)  # so that shutdown would have the time to return
        set_result(future, result)

    monkeypatch.setattr(Future, "set_result", set_late)
    session = ScriptedSession()
    executor = make_executor(session, concurrency=2)
    futures: list[Any] = [executor.submit("s"), executor.execute(PAIRS[:1]).future()]
    wait_until_quiet(executor, session)
    answers = [threading.Thread(target=request.succeed) for request in session.pending]
    for each in answers:
        each.start()
    executor.shutdown()
    assert all(future.done() for future in futures)
    for each in answers:
        each.join()


@any_executor
def test_asking_in_two_ways_harms_neither(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    results = executor.execute(PAIRS)
    completed = results.as_completed()
    for ask in (results.all, results.future, results.as_completed, lambda: next(results)):
        with pytest.raises(RuntimeError, match=r"^these results are taken in another way already$"):
            ask()
    assert len(list(completed)) == 1000
    finished = executor.execute(PAIRS)
    assert len(list(finished)) == 1000
    assert finished.all() == []


# ---- what is left behind ----


@in_one_process
def test_no_cycle_and_no_reference_is_left(make_executor: MakeExecutor) -> None:
    class Parameters(list[int]):
        pass

    session = ScriptedSession(answers_at_once)
    gc.collect()
    gc.disable()
    try:
        alive = []
        with make_executor(session, concurrency=4) as executor:
            parameters = [Parameters((index,)) for index in range(20)]
            alive += [weakref.ref(each) for each in parameters]
            source = iter(parameters)
            results: Any = executor.map("q", source)
            run = weakref.ref(results._run)
            assert len(list(results)) == 20
            del parameters, source, results
            half = executor.map("q", (Parameters((index,)) for index in range(20)), buffersize=3)
            next(half)
            del half
            executor.execute(PAIRS).all()
            assert len(executor.execute(PAIRS).future().result()) == 1000
        weak = weakref.ref(executor)
        del executor
        wait_for(lambda: not any(reference() for reference in alive))
        assert run() is None
        if make_executor is EXECUTORS["callback"]:  # idle workers hold theirs for a while
            assert weak() is None
    finally:
        gc.enable()


@any_executor
def test_a_failed_run_leaves_no_cycle(make_executor: MakeExecutor) -> None:
    def refuse(statement: Any, parameters: Any) -> Reply:
        return Reply(error=ValueError("mine"), at_once=True)

    executor = make_executor(ScriptedSession(refuse), concurrency=2)
    gc.collect()
    gc.disable()
    try:
        references = []
        for attempt in range(3):
            results = executor.execute(PAIRS if attempt else numbers())
            references.append(weakref.ref(results._run))
            with pytest.raises(ValueError, match="mine"):
                list(results) if attempt < 2 else results.all()
            del results
        wait_for(lambda: not any(reference() for reference in references))
    finally:
        gc.enable()


@any_executor
@pytest.mark.parametrize("what", ["statement", "input"])
def test_one_that_has_failed_while_others_are_on_their_way_leaves_no_cycle(
    make_executor: MakeExecutor, what: str
) -> None:
    def pairs() -> Iterator[tuple[str, None]]:
        yield "q", None
        if what == "input":
            raise ValueError("mine")
        yield "fails", None

    session = ScriptedSession(
        lambda statement, _: (
            Reply(error=ValueError("mine"), at_once=True) if statement == "fails" else None
        )
    )
    executor = make_executor(session, concurrency=2)
    gc.collect()
    gc.disable()
    try:
        results = executor.execute(pairs())
        reference = weakref.ref(results._run)
        with pytest.raises(ValueError, match="mine"):
            results.all()
        del results
        wait_until_quiet(executor, session)
        (request,) = session.pending
        request.succeed()
        del request
        wait_for(lambda: reference() is None)
    finally:
        gc.enable()


class NeverAtOnce:
    """A lock that another thread holds whenever somebody tries it, and gives up to who waits."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def acquire(self, blocking: bool = True) -> bool:
        return blocking and bool(self._lock.acquire())

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


@any_executor
@pytest.mark.parametrize("form", [list, lambda results: results.all()], ids=["list", "all"])
def test_a_failed_run_leaves_no_cycle_where_another_thread_holds_the_lock(
    make_executor: MakeExecutor, form: Callable[[Any], Any]
) -> None:
    def refuse(statement: Any, parameters: Any) -> Reply:
        return Reply(error=ValueError("mine"), at_once=True)

    executor = make_executor(ScriptedSession(refuse), concurrency=2)
    lock: Any = NeverAtOnce(executor._gate.lock)
    executor._gate.lock = lock
    gc.collect()
    gc.disable()
    try:
        results = executor.execute(PAIRS)
        reference = weakref.ref(results._run)
        with pytest.raises(ValueError, match="mine"):
            form(results)
        del results
        wait_for(lambda: reference() is None)
    finally:
        gc.enable()


@any_executor
@pytest.mark.parametrize("chained", [False, True])
def test_a_failure_keeps_no_frame_alive(make_executor: MakeExecutor, chained: bool) -> None:
    """The drivers raise bind errors out of the handling of others, deep in their frames."""

    class Request:
        pass

    alive: list[weakref.ref[Request]] = []

    def script(statement: Any, parameters: Any) -> None:
        request = Request()
        alive.append(weakref.ref(request))
        try:
            int("no number")
        except ValueError as exc:
            if chained:
                raise TypeError("invalid") from exc
            raise TypeError("invalid")  # noqa: B904

    executor = make_executor(ScriptedSession(script), concurrency=3)
    results = executor.execute(PAIRS[:50], raise_on_first_error=False).all()
    assert [type(result.result_or_exc) for result in results] == [TypeError] * 50
    wait_for(lambda: not any(reference() for reference in alive))


@any_executor
def test_threads_end(make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    others = ours()  # of tests whose statements never get an answer
    monkeypatch.setattr(threads_module, "LINGER", 0.01)
    session = ScriptedSession(answers_at_once)
    with make_executor(session, concurrency=5) as executor:
        assert len(list(executor.execute(numbers_up_to(500)))) == 500
        executor.execute(numbers(), buffersize=5).close()
        abandoned = executor.execute(numbers(), buffersize=5)
        next(abandoned)
        del abandoned
        wait_for(lambda: ours() <= others)
        executor.submit("s").result(20)  # work that comes later finds threads again
    wait_for(lambda: ours() <= others)


def numbers_up_to(count: int) -> Iterator[tuple[str, tuple[int]]]:
    return itertools.islice(numbers(), count)


@any_executor
def test_abandoned_results_under_a_collector_that_fires_at_any_moment(
    make_executor: MakeExecutor,
) -> None:
    """Results in a cycle are finalised wherever the collector strikes: under our lock too."""
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for attempt in range(60):
            results: Any = executor.execute(numbers(), buffersize=4)
            cycle = [results]
            cycle.append(cycle)
            if attempt % 3 == 0:
                cycle.append(reader(results))
                next(cycle[-1])
            elif attempt % 3 == 1:
                next(results)
            del results, cycle
            assert len(executor.execute(PAIRS[:30]).all()) == 30
    finally:
        gc.set_threshold(*before)
    gc.collect()
    executor.shutdown()


@any_executor
def test_a_collector_that_strikes_while_we_hold_the_lock(make_executor: MakeExecutor) -> None:
    """The same on purpose, where the last one needs luck: the finaliser must take no lock."""
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    gc.collect()
    gc.disable()
    try:
        results: Any = executor.execute(numbers(), buffersize=4)
        reading = reader(results)
        next(reading)
        closed = weakref.ref(results)
        cycle: list[Any] = [results, reading]
        cycle.append(cycle)
        wait_until_quiet(executor, session)
        sent = session.sent
        del results, reading, cycle
        with executor._gate.lock:
            gc.collect()
    finally:
        gc.enable()
    assert closed() is None
    wait_until_quiet(executor, session)
    assert session.sent == sent
    executor.shutdown()


@any_executor
def test_what_a_dropped_run_lets_go_is_let_go_without_the_lock(
    make_executor: MakeExecutor,
) -> None:
    """The last reference to an abandoned run may be its turn at the gate."""
    held: list[bool] = []

    class Parameters(list[int]):
        def __del__(self) -> None:
            held.append(executor._gate.lock.locked())

    session = ScriptedSession()
    executor = make_executor(session, concurrency=1)
    first = executor.map("first", [None])
    wait_until_quiet(executor, session)
    abandoned = executor.map("q", [Parameters()])
    other = executor.map("other", [None])
    del abandoned
    session.pending[0].succeed()
    assert len(list(first)) == 1
    wait_until_quiet(executor, session)
    session.pending[0].succeed()
    assert len(list(other)) == 1
    wait_for(lambda: held)
    assert held == [False]


@any_executor
def test_what_a_dropped_run_has_in_store_is_not_left_to_the_collector(
    make_executor: MakeExecutor,
) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=1)
    results = executor.execute(numbers(), buffersize=10)
    wait_until_quiet(executor, session)
    assert results.statistics().pulled == 10
    run = weakref.ref(results._run)
    gc.collect()
    gc.disable()
    try:
        del results
        session.pending[0].succeed()
        wait_for(lambda: run() is None)
    finally:
        gc.enable()


@in_one_process
def test_an_executor_that_is_merely_dropped_leaves_nothing_with_the_session(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "LINGER", 0.02)
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, retry=Retry())
    assert len(executor.execute(PAIRS).all()) == len(PAIRS)
    assert session._listeners
    del executor
    wait_for(lambda: not session._listeners)


def reader(results: Any) -> Iterator[Any]:
    """A caller's generator, whose end closes the results: it may be the collector that ends it."""
    try:
        yield from results
    finally:
        results.close()


# ---- a process that ends ----


def run_script(script: str, *, interrupt: bool = False) -> subprocess.CompletedProcess[str]:
    prelude = """
        import itertools, sys, threading, time
        from concurrent_exec.testing import Reply, ScriptedInput, ScriptedSession
        from tests.executors import EXECUTORS
        make_executor = EXECUTORS[sys.argv[1]]
        """
    code = textwrap.dedent(prelude) + textwrap.dedent(script)
    outputs = []
    for name in EXECUTORS:
        process = subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if interrupt:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        outputs.append(subprocess.CompletedProcess(name, process.returncode, out, err))
        assert process.returncode == 0, err
    return outputs[-1]


def test_an_interpreter_exits_over_a_blocked_input_and_an_unfinished_run() -> None:
    run_script(
        """
        blocked = make_executor(ScriptedSession()).execute(ScriptedInput())
        unanswered = make_executor(ScriptedSession()).execute([("q", None)] * 1000)
        waiting = make_executor(ScriptedSession()).execute([("q", None)] * 1000).future()
        endless = make_executor(ScriptedSession(lambda s, p: Reply(at_once=True))).execute(
            ("q", None) for _ in itertools.count()
        )
        next(endless)
        """
    )


@pytest.mark.parametrize("form", ["next(results)", "results.all()"])
def test_a_keyboard_interrupt_while_waiting_stops_the_run(form: str) -> None:
    run_script(
        f"""
        session = ScriptedSession()
        results = make_executor(session, concurrency=3).execute([("q", None)] * 1000)
        try:
            print("waiting", flush=True)
            {form}
        except KeyboardInterrupt:
            for request in session.pending:
                request.succeed()
            time.sleep(0.2)
            assert session.sent == 3, session.sent
            assert list(results) == []
        else:
            raise AssertionError("not interrupted")
        """,
        interrupt=True,
    )


def test_a_keyboard_interrupt_at_any_moment_harms_no_other_run() -> None:
    """It strikes the main thread while that sends; no permit and no statement is lost."""
    run_script(
        """
        import os, random, signal
        chance = random.Random(7)
        # So that the main thread is nearly always in the midst of sending.
        answers_at_once = lambda statement, parameters: Reply(at_once=True)
        sessions = []  # kept: an interrupt that strikes in a callback of a weak reference is lost
        for attempt in range(40):
            sessions.append(ScriptedSession(answers_at_once))
            executor = make_executor(sessions[-1], concurrency=4)
            bystander = executor.map("b", [(i,) for i in range(200)]).future()
            def interrupt():
                time.sleep(chance.uniform(0.0005, 0.01))
                os.kill(os.getpid(), signal.SIGINT)
            try:
                threading.Thread(target=interrupt, daemon=True).start()
                if attempt % 2:
                    for _ in executor.map("q", [(i,) for i in range(10**6)], buffersize=16):
                        pass
                else:
                    while True:
                        executor.submit("s")
            except KeyboardInterrupt:
                pass
            assert len(bystander.result(20)) == 200
            stopping = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True})
            stopping.daemon = True
            stopping.start()
            stopping.join(20)
            assert not stopping.is_alive(), executor.statistics()
        """
    )
