"""The drivers' own function names: all that the drivers check for theirs, and what they got wrong.

What must hold is taken from the drivers' own unit and integration tests of `cassandra.concurrent`;
the last part is what users of it were hurt by. Everything runs with every strategy.
"""

from __future__ import annotations

import inspect
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from itertools import cycle
from types import TracebackType
from typing import Any
from unittest import mock
from uuid import uuid4

import cassandra.concurrent
import pytest
from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, Session
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec import (
    CallbackExecutor,
    ExecutionResult,
    ExecutorShutdownError,
    InvalidItemError,
    Results,
    ThreadExecutor,
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.testing import Reply, Request, ScriptedInput, ScriptedSession
from tests.conftest import PROOF

MANY = 200_000 if PROOF else 20_000
SIZES = (0, 1, 2, 7, 10, 99, 100, 101, 199, 200, 201)

Options = Callable[[Any, int], dict[str, Any]]
"""Given a session and a limit, the arguments that choose a strategy with that limit."""

STRATEGIES: dict[str, Options] = {
    "callback": lambda session, limit: {"executor": "callback", "concurrency": limit},
    "direct": lambda session, limit: {"executor": "direct", "concurrency": limit},
    "thread": lambda session, limit: {"executor": "thread", "concurrency": limit},
    "CallbackExecutor": lambda session, limit: {
        "executor": CallbackExecutor(session, concurrency=limit)
    },
    "ThreadExecutor": lambda session, limit: {
        "executor": ThreadExecutor(session, concurrency=limit)
    },
}

any_strategy = pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
"""By name, and as an executor of one's own making."""

by_name = pytest.mark.parametrize("strategy", ["callback", "thread"])


# ---- the three functions alike ----


def run_list(session: Any, pairs: Any, **options: Any) -> list[Any]:
    results = execute_concurrent(session, pairs, **options)
    assert type(results) is list
    return results


def run_stream(session: Any, pairs: Any, **options: Any) -> list[Any]:
    results = execute_concurrent(session, pairs, results_generator=True, **options)
    assert iter(results) is results
    return list(results)


def run_async(session: Any, pairs: Any, **options: Any) -> list[Any]:
    options.setdefault("raise_on_first_error", True)  # as the other two have it
    future = execute_concurrent_async(session, pairs, **options)
    assert type(future) is Future
    return future.result(timeout=60)


def run_list_of_args(session: Any, pairs: Any, **options: Any) -> list[Any]:
    results = execute_concurrent_with_args(session, "q", (p for _, p in pairs), **options)
    assert type(results) is list
    return results


def run_stream_of_args(session: Any, pairs: Any, **options: Any) -> list[Any]:
    results = execute_concurrent_with_args(
        session, "q", (p for _, p in pairs), results_generator=True, **options
    )
    assert iter(results) is results
    return list(results)


FORMS: dict[str, Callable[..., list[Any]]] = {
    "list": run_list,
    "stream": run_stream,
    "async": run_async,
    "list of args": run_list_of_args,
    "stream of args": run_stream_of_args,
}

any_form = pytest.mark.parametrize("run", FORMS.values(), ids=FORMS)


def numbered(count: int) -> list[tuple[str, tuple[int]]]:
    return [("q", (index,)) for index in range(count)]


def echo(statement: Any, parameters: Any) -> Reply:
    """Answer at once with the parameters as the only row."""
    return Reply(rows=[parameters], at_once=True)


def rows_of(result: Any) -> Any:
    """The rows of a result, through whichever strategy."""
    return getattr(result.result_or_exc, "current_rows", result.result_or_exc)


def values_of(results: Iterable[Any]) -> list[Any]:
    """The number that came back with each result."""
    return [rows_of(result)[0][0] for result in results]


class Server:
    """Plays the driver's I/O thread: answers what is pending, one after the other.

    pick: given the requests that wait, which one to answer next.
    ahead: do not answer while fewer than so many wait, except at the end of `total` statements.
        Then the order of the answers is decided by `pick` alone.
    """

    def __init__(
        self,
        session: ScriptedSession,
        pick: Callable[[list[Request]], Request] = lambda pending: pending[0],
        *,
        answer: Callable[[Request], None] = lambda request: request.succeed([request.parameters]),
        ahead: int = 1,
        total: int | None = None,
    ) -> None:
        self.answered: list[Any] = []
        self._session = session
        self._pick = pick
        self._answer = answer
        self._ahead = ahead
        self._total = total
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="I/O")

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            pending = self._session.pending
            wanted = self._ahead
            if self._total is not None:
                wanted = min(wanted, self._total - len(self.answered))
            if not pending or len(pending) < wanted:
                time.sleep(0.0002)
                continue
            request = self._pick(pending)
            self.answered.append(request.parameters[0] if request.parameters else None)
            self._answer(request)


def wait_for(condition: Callable[[], object]) -> None:
    """Return once `condition` holds; the suite's watchdog ends a wait for ever."""
    while not condition():
        time.sleep(0.0005)


def answer_all(session: ScriptedSession, error: BaseException | None = None) -> None:
    """Answer all that is pending, and whatever is sent because of that, until nothing more is."""
    quiet_rounds = 0
    while quiet_rounds < 10:
        pending = session.pending
        quiet_rounds = 0 if pending else quiet_rounds + 1
        for request in pending:
            if error is None:
                request.succeed([request.parameters])
            else:
                request.fail(error)
        time.sleep(0.002)


# ---- order ----

PICKS: dict[str, Callable[[list[Request]], Request]] = {
    "forward": lambda pending: pending[0],
    "reverse": lambda pending: pending[-1],
    "random": random.Random(20).choice,
}


@any_strategy
@any_form
@pytest.mark.parametrize("order", PICKS)
def test_results_are_in_input_order_whatever_the_order_of_completion(
    options: Options, run: Callable[..., list[Any]], order: str
) -> None:
    session = ScriptedSession()
    with Server(session, PICKS[order], ahead=25, total=100) as server:
        results = run(session, numbered(100), **options(session, 25))
    assert values_of(results) == list(range(100))
    assert all(result.success for result in results)
    # The schedule was the one that the test is about.
    if order != "forward":
        assert server.answered != list(range(100))


@any_strategy
@any_form
def test_some_slow_statements_change_nothing(
    options: Options, run: Callable[..., list[Any]]
) -> None:
    """Each tenth statement is answered only when no other waits."""

    def quick_first(pending: list[Request]) -> Request:
        return next((r for r in pending if r.parameters[0] % 10), pending[0])

    session = ScriptedSession()
    with Server(session, quick_first) as server:
        results = run(session, numbered(300), **options(session, 13))
    assert values_of(results) == list(range(300))
    assert sorted(server.answered) == list(range(300))


@pytest.mark.parametrize("options", [STRATEGIES["callback"], STRATEGIES["thread"]])
@pytest.mark.parametrize("run", [run_list, run_stream, run_async])
@settings(max_examples=40)
@given(
    outcomes=st.lists(st.sampled_from(["ok", "ok", "error", "refused"]), max_size=40),
    limit=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_any_mix_of_outcomes_in_any_order_of_completion(
    options: Options,
    run: Callable[..., list[Any]],
    outcomes: list[str],
    limit: int,
    seed: int,
) -> None:
    errors = [InvalidRequest(str(index)) for index in range(len(outcomes))]

    def script(statement: Any, parameters: Any) -> Reply | None:
        if outcomes[parameters[0]] == "refused":
            return Reply(refuse=True, error=errors[parameters[0]])
        return None

    def answer(request: Request) -> None:
        if outcomes[request.parameters[0]] == "ok":
            request.succeed([request.parameters])
        else:
            request.fail(errors[request.parameters[0]])

    session = ScriptedSession(script)
    with Server(session, random.Random(seed).choice, answer=answer):
        results = run(
            session, numbered(len(outcomes)), raise_on_first_error=False, **options(session, limit)
        )
    assert [result.success for result in results] == [outcome == "ok" for outcome in outcomes]
    for index, (success, value) in enumerate(results):
        if success:
            assert values_of([results[index]]) == [index]
        else:
            assert value is errors[index]
    assert session.most_in_flight <= limit


@any_strategy
@any_form
def test_any_number_of_statements(options: Options, run: Callable[..., list[Any]]) -> None:
    for count in SIZES:
        session = ScriptedSession(echo)
        results = run(session, numbered(count), **options(session, 10))
        assert values_of(results) == list(range(count))
        assert session.sent == count


@any_form
def test_any_number_of_statements_by_default(run: Callable[..., list[Any]]) -> None:
    for count in SIZES:
        session = ScriptedSession(echo)
        results = run(session, zip(cycle(("q",)), ((n,) for n in range(count)), strict=False))
        assert values_of(results) == list(range(count))
        assert session.sent == count


@any_strategy
@any_form
def test_statements_without_rows(options: Options, run: Callable[..., list[Any]]) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    results = run(session, numbered(201), **options(session, 100))
    assert len(results) == 201
    for success, result in results:
        assert success
        assert not result


@any_strategy
def test_the_results_are_named_tuples_of_ours(options: Options) -> None:
    session = ScriptedSession(echo)
    results = execute_concurrent(
        session, numbered(3), results_generator=True, **options(session, 2)
    )
    for result in results:
        assert isinstance(result, ExecutionResult)
        assert result.success is True
        assert result[1] is result.result_or_exc


# ---- arguments ----

NAMES = ("execute_concurrent", "execute_concurrent_with_args", "execute_concurrent_async")
OURS: dict[str, Callable[..., Any]] = {
    "execute_concurrent": execute_concurrent,
    "execute_concurrent_with_args": execute_concurrent_with_args,
    "execute_concurrent_async": execute_concurrent_async,
}


def parameters_of(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "executor"
    ]


def theirs(name: str) -> list[tuple[str, Any, Any]]:
    """The parameters of the driver's function; what it hands on to another is that one's."""
    own = parameters_of(getattr(cassandra.concurrent, name))
    plain = [p for p in own if p[1] is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(plain) < len(own):
        plain += parameters_of(cassandra.concurrent.execute_concurrent)[2:]
    return plain


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(cassandra.concurrent, name)])
def test_parameters_positions_and_defaults_are_the_drivers_own(name: str) -> None:
    assert parameters_of(OURS[name]) == theirs(name)
    executor = inspect.signature(OURS[name]).parameters["executor"]
    assert executor.kind is inspect.Parameter.KEYWORD_ONLY
    assert executor.default == "auto"


def test_the_async_function_has_cassandra_drivers_parameters_on_both_drivers() -> None:
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    assert parameters_of(execute_concurrent_async) == [
        ("session", either, empty),
        ("statements_and_parameters", either, empty),
        ("concurrency", either, 100),
        ("raise_on_first_error", either, False),
        ("execution_profile", either, EXEC_PROFILE_DEFAULT),
    ]


def test_the_methods_of_the_drivers_session_take_the_same() -> None:
    """Those of cassandra-driver call its functions; scylla-driver's session has none."""
    for name in NAMES:
        if hasattr(Session, name):
            method = parameters_of(getattr(Session, name))[1:]
            plain = [p for p in method if p[1] is inspect.Parameter.POSITIONAL_OR_KEYWORD]
            assert parameters_of(OURS[name])[1 : len(plain) + 1] == plain


def test_all_arguments_by_position() -> None:
    session = ScriptedSession(echo)
    assert len(run_list(session, numbered(3))) == 3
    results = execute_concurrent(session, numbered(3), 2, False, True, "profile")
    assert isinstance(results, Results)
    assert values_of(results) == [0, 1, 2]
    results = execute_concurrent_with_args(session, "q", [(0,), (1,)], 2, False, True, "profile")
    assert isinstance(results, Results)
    assert values_of(results) == [0, 1]
    future = execute_concurrent_async(session, numbered(2), 2, True, "profile")
    assert values_of(future.result(timeout=10)) == [0, 1]


def sent_with(session: ScriptedSession, call: Callable[[], Any]) -> list[dict[str, Any]]:
    """The options of each statement that `call` sends."""
    options = []

    def answer(request: Request) -> None:
        options.append(request.options)
        request.succeed()

    with Server(session, answer=answer):
        call()
    return options


@any_strategy
@any_form
def test_the_execution_profile_is_passed_on_and_nothing_else(
    options: Options, run: Callable[..., list[Any]]
) -> None:
    session = ScriptedSession()
    strategy = options(session, 2)
    assert (
        sent_with(session, lambda: run(session, numbered(3), execution_profile="dict", **strategy))
        == [{"execution_profile": "dict"}] * 3
    )
    assert (
        sent_with(session, lambda: run(session, numbered(2), **strategy))
        == [{"execution_profile": EXEC_PROFILE_DEFAULT}] * 2
    )


@by_name
@pytest.mark.parametrize("concurrency", [0, -1])
@any_form
def test_a_concurrency_below_one_is_refused(
    run: Callable[..., list[Any]], strategy: str, concurrency: int
) -> None:
    session = ScriptedSession(echo)
    for pairs in (numbered(3), []):
        with pytest.raises(ValueError, match="concurrency must be at least 1"):
            run(session, pairs, concurrency=concurrency, executor=strategy)
    assert session.sent == 0


@any_form
def test_an_unknown_strategy_is_refused_by_name(run: Callable[..., list[Any]]) -> None:
    for wrong in ("threads", None, 3):
        with pytest.raises(
            ValueError, match="executor must be one of 'auto', 'callback', 'direct', 'thread'"
        ):
            run(ScriptedSession(), numbered(1), executor=wrong)


@any_form
def test_an_executor_of_another_session_is_refused(run: Callable[..., list[Any]]) -> None:
    other = CallbackExecutor(ScriptedSession(echo))
    session = ScriptedSession(echo)
    with pytest.raises(ValueError, match="executor must be one over the same session"):
        run(session, numbered(1), executor=other)
    assert session.sent == 0


@any_form
def test_an_executor_that_was_shut_down_is_refused(run: Callable[..., list[Any]]) -> None:
    session = ScriptedSession(echo)
    executor = ThreadExecutor(session, concurrency=2)
    executor.shutdown()
    with pytest.raises(ExecutorShutdownError):
        run(session, numbered(1), executor=executor)


@any_strategy
@any_form
def test_an_executor_of_the_users_own_serves_call_after_call(
    options: Options, run: Callable[..., list[Any]]
) -> None:
    session = ScriptedSession(echo)
    chosen = options(session, 3)
    for _ in range(5):
        assert values_of(run(session, numbered(20), **chosen)) == list(range(20))


# ---- nothing to do ----

EMPTY: dict[str, Callable[[], Any]] = {
    "list": list,
    "tuple": tuple,
    "iterator": lambda: iter(()),
    "generator": lambda: (pair for pair in numbered(0)),
}


@any_strategy
@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
@any_form
def test_an_empty_input(
    run: Callable[..., list[Any]], options: Options, empty: Callable[[], Any]
) -> None:
    session = ScriptedSession()
    assert run(session, empty(), **options(session, 3)) == []
    assert session.sent == 0


@any_strategy
@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_an_empty_input_is_an_iterator_that_ends(
    options: Options, empty: Callable[[], Any]
) -> None:
    session = ScriptedSession()
    for results in (
        execute_concurrent(session, empty(), results_generator=True, **options(session, 3)),
        execute_concurrent_with_args(
            session, "q", empty(), results_generator=True, **options(session, 3)
        ),
    ):
        assert isinstance(results, Results)
        for _ in range(3):
            with pytest.raises(StopIteration):
                next(results)


@any_strategy
@pytest.mark.parametrize("run", [run_list, run_stream, run_async])
def test_none_is_nothing_to_do(run: Callable[..., list[Any]], options: Options) -> None:
    session = ScriptedSession()
    assert run(session, None, **options(session, 3)) == []


# ---- failures ----


def fails_at(index: int, *, how: str, error: BaseException | None = None) -> Any:
    """A script: all answered at once, but one fails, by the server's or the client's doing."""
    failure = error if error is not None else InvalidRequest("mine")

    def script(statement: Any, parameters: Any) -> Reply:
        if parameters[0] != index:
            return echo(statement, parameters)
        return Reply(error=failure, refuse=how == "refused", at_once=True)

    return script


HOW = pytest.mark.parametrize("how", ["server", "refused"])


@any_strategy
@any_form
@HOW
def test_the_first_failure_is_raised(
    options: Options, run: Callable[..., list[Any]], how: str
) -> None:
    """Also where `execute_async` itself raises, as it does for parameters that do not fit."""
    error = TypeError("mine")
    session = ScriptedSession(fails_at(57, how=how, error=error))
    with pytest.raises(TypeError, match="mine") as caught:
        run(session, numbered(100), **options(session, 10))
    assert caught.value is error


@any_strategy
@any_form
@HOW
def test_a_failure_takes_its_place_among_the_results(
    options: Options, run: Callable[..., list[Any]], how: str
) -> None:
    session = ScriptedSession(fails_at(57, how=how))
    results = run(session, numbered(100), raise_on_first_error=False, **options(session, 10))
    assert len(results) == 100
    for index, (success, result) in enumerate(results):
        assert success == (index != 57)
        if not success:
            assert isinstance(result, InvalidRequest)
    del results[57]
    assert values_of(results) == [index for index in range(100) if index != 57]


def test_raising_is_the_default_but_not_of_the_async_function() -> None:
    session = ScriptedSession(fails_at(1, how="server"))
    with pytest.raises(InvalidRequest):
        execute_concurrent(session, numbered(3))
    with pytest.raises(InvalidRequest):
        execute_concurrent_with_args(session, "q", [(0,), (1,), (2,)])
    results = execute_concurrent_async(session, numbered(3)).result(timeout=10)
    assert [result.success for result in results] == [True, False, True]


@any_strategy
def test_a_stream_delivers_what_comes_before_the_failure(options: Options) -> None:
    session = ScriptedSession(fails_at(57, how="server"))
    results = execute_concurrent(
        session, numbered(100), results_generator=True, **options(session, 10)
    )
    delivered = []
    with pytest.raises(InvalidRequest):
        for result in results:
            delivered.append(result)
    assert values_of(delivered) == list(range(57))
    assert list(results) == []


@by_name
def test_a_drivers_own_session_that_refuses_every_statement(strategy: Any) -> None:
    """As many failures inside `execute_async` as the stack may be deep, by the real driver."""
    connected: Future[bool] = Future()
    connected.set_result(True)
    host = Host("127.0.0.1", SimpleConvictionPolicy, host_id=uuid4())
    parameters = [("too many",)] * sys.getrecursionlimit()
    cluster = Cluster()
    with mock.patch.object(Session, "add_or_renew_pool", return_value=connected):
        session = Session(cluster, [host])
    try:
        with pytest.raises(TypeError, match="not all arguments converted"):
            execute_concurrent_with_args(session, "no place", parameters, executor=strategy)
        results = execute_concurrent_with_args(
            session,
            "no place",
            parameters,
            raise_on_first_error=False,
            executor=strategy,
        )
        for success, error in results:
            assert not success
            assert isinstance(error, TypeError)
        assert isinstance(results, list)
        assert len(results) == len(parameters)
    finally:
        session.shutdown()
        cluster.shutdown()


# ---- answers inside execute_async ----

ERROR = InvalidRequest("mine")


class Answered:
    """A response future that has its answer before anybody asks; small, as there are so many."""

    has_more_pages = False
    _col_names = _col_types = None
    __slots__ = ("_error", "_rows")

    def __init__(self, rows: Any, error: BaseException | None) -> None:
        self._rows = rows
        self._error = error

    def add_callbacks(
        self,
        callback: Callable[..., object],
        errback: Callable[..., object],
        callback_args: tuple[Any, ...] = (),
        callback_kwargs: Any = None,
        errback_args: tuple[Any, ...] = (),
        errback_kwargs: Any = None,
    ) -> None:
        if self._error is None:
            callback(self._rows, *callback_args)
        else:
            errback(self._error, *errback_args)

    def clear_callbacks(self) -> None:
        pass

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._rows


class Instant:
    """A session that answers within `execute_async`, and looks now and then how deep it is."""

    def __init__(self, kind: str) -> None:
        self.sent = 0
        self.deepest = 0
        self._kind = kind
        self._lock = threading.Lock()

    def answer_to(self, index: int) -> str:
        if self._kind == "mixed":
            return ("success", "failure", "refused")[index % 3]
        return self._kind

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Answered:
        index = parameters[0]
        with self._lock:
            self.sent += 1
        if index % 500 == 0:
            depth = 0
            frame: Any = sys._getframe()
            while frame is not None:
                depth += 1
                frame = frame.f_back
            self.deepest = max(self.deepest, depth)
        answer = self.answer_to(index)
        if answer == "refused":
            raise ERROR
        return Answered(parameters, ERROR if answer == "failure" else None)

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        return self.execute_async(query, parameters, **options).result()


def check_inline(
    run: Callable[..., list[Any]], strategy: str, kind: str, pairs: Iterable[Any]
) -> None:
    session = Instant(kind)
    here = len(inspect.stack(0))
    results = run(session, pairs, raise_on_first_error=False, concurrency=8, executor=strategy)
    assert len(results) == MANY == session.sent
    for index, (success, value) in enumerate(results):
        if session.answer_to(index) == "success":
            assert success
            assert rows_of(results[index]) == (index,)
        else:
            assert not success
            assert value is ERROR
            assert results[index].index == index
    assert 0 < session.deepest < here + 60


@by_name
@pytest.mark.parametrize("kind", ["success", "failure"])
def test_a_list_of_answers_inside_execute_async(strategy: str, kind: str) -> None:
    check_inline(run_list, strategy, kind, numbered(MANY))


@by_name
def test_a_stream_of_answers_inside_execute_async(strategy: str) -> None:
    check_inline(run_stream, strategy, "mixed", (("q", (index,)) for index in range(MANY)))


def test_a_future_of_answers_inside_execute_async() -> None:
    check_inline(run_async, "callback", "mixed", numbered(MANY))


# ---- the async form ----


@any_strategy
def test_the_async_form_returns_though_nothing_is_answered(options: Options) -> None:
    session = ScriptedSession()
    future = execute_concurrent_async(session, numbered(20), **options(session, 5))
    wait_for(lambda: len(session.pending) == 5)
    assert not future.done()
    with Server(session):
        assert values_of(future.result(timeout=60)) == list(range(20))


@any_strategy
def test_the_async_form_returns_though_the_input_blocks(options: Options) -> None:
    source = ScriptedInput()
    session = ScriptedSession(echo)
    future = execute_concurrent_async(session, source, **options(session, 5))
    wait_for(lambda: source.waiting)
    assert not future.done()
    source.give(("q", (0,)))
    source.give(("q", (1,)))
    source.end()
    assert values_of(future.result(timeout=60)) == [0, 1]


@any_strategy
def test_cancelling_the_future_stops_the_run(options: Options) -> None:
    session = ScriptedSession()
    future = execute_concurrent_async(session, numbered(50), **options(session, 5))
    wait_for(lambda: len(session.pending) == 5)
    assert future.cancel()
    assert future.cancelled()
    answer_all(session)
    assert session.sent == 5
    with pytest.raises(CancelledError):
        future.result(timeout=10)


@any_strategy
def test_cancelling_the_future_waits_for_no_blocked_input(options: Options) -> None:
    source = ScriptedInput()
    session = ScriptedSession(echo)
    future = execute_concurrent_async(session, source, **options(session, 5))
    wait_for(lambda: source.waiting)
    assert future.cancel()
    source.give(("q", (0,)))
    source.end()
    answer_all(session)
    assert session.sent == 0


@any_strategy
def test_the_future_goes_on_though_nobody_holds_it(options: Options) -> None:
    session = ScriptedSession()
    heard: list[list[int]] = []
    execute_concurrent_async(session, iter(numbered(40)), **options(session, 3)).add_done_callback(
        lambda future: heard.append(values_of(future.result()))
    )
    with Server(session):
        wait_for(lambda: heard)
    assert heard == [list(range(40))]


@any_strategy
def test_the_future_fails_with_the_first_failure_and_nothing_more_is_sent(
    options: Options,
) -> None:
    session = ScriptedSession()
    future = execute_concurrent_async(
        session, numbered(50), raise_on_first_error=True, **options(session, 5)
    )
    wait_for(lambda: len(session.pending) == 5)
    next(r for r in session.pending if r.parameters == (3,)).fail(InvalidRequest("mine"))
    error = future.exception(timeout=60)
    assert isinstance(error, InvalidRequest)
    assert error.failure.index == 3
    answer_all(session)
    assert session.sent == 5


# ---- a consumer or an input that takes its time ----


@any_strategy
def test_a_consumer_may_block_and_query_within_a_generators_loop(options: Options) -> None:
    """Their helper runs on in the I/O thread's callbacks and warns of a deadlock there."""
    session = ScriptedSession()
    with Server(session):
        results = execute_concurrent(
            session, numbered(30), results_generator=True, **options(session, 4)
        )
        seen = []
        for result in results:
            (number,) = values_of([result])
            rows = session.execute("another", (number * 2,))
            seen.append((number, rows.one()[0]))
    assert seen == [(number, number * 2) for number in range(30)]


@any_strategy
@any_form
def test_a_paged_select_as_the_input(options: Options, run: Callable[..., list[Any]]) -> None:
    """Each page needs the I/O thread, so an input pulled by that one would wait for itself."""
    session = ScriptedSession()
    pulled_by = set()

    def pages() -> Iterator[tuple[str, tuple[int]]]:
        for page in range(12):
            rows = session.execute("page", (page,))  # answered by the I/O thread
            pulled_by.add(threading.current_thread().name)
            for row in range(5):
                yield "q", (rows.one()[0] * 5 + row,)

    with Server(session):
        results = run(session, pages(), **options(session, 3))
    assert values_of(results) == list(range(60))
    assert "I/O" not in pulled_by


# ---- what users were hurt by ----


@any_strategy
@pytest.mark.parametrize("form", [list, iter])
@HOW
def test_a_list_that_has_raised_sends_no_more(
    options: Options, form: Callable[[Any], Any], how: str
) -> None:
    """Theirs raised after 4 statements and sent the other 996."""
    error = InvalidRequest("mine")
    session = ScriptedSession()

    def script(statement: Any, parameters: Any) -> Reply | None:
        return Reply(refuse=True, error=error) if parameters == (4,) and how == "refused" else None

    def answer(request: Request) -> None:
        if request.parameters == (4,):
            request.fail(error)
        elif request.parameters[0] < 4:
            request.succeed([request.parameters])
        else:
            time.sleep(0.0002)  # in flight when the list raises

    session = ScriptedSession(script)
    with Server(session, random.Random(3).choice, answer=answer), pytest.raises(InvalidRequest):
        execute_concurrent(session, form(numbered(1000)), **options(session, 6))
    answer_all(session)
    # Six in flight with or after number 4, and what was answered before it.
    assert session.sent <= 4 + 6 + 1


@any_strategy
def test_statements_answered_at_once_stop_at_the_failure(options: Options) -> None:
    session = ScriptedSession(fails_at(4, how="server"))
    with pytest.raises(InvalidRequest):
        execute_concurrent(session, numbered(1000), **options(session, 1))
    assert session.sent == 5


@any_strategy
@pytest.mark.parametrize("form", [list, iter])
def test_a_closed_stream_sends_no_more(options: Options, form: Callable[[Any], Any]) -> None:
    session = ScriptedSession()
    with Server(session):
        results = execute_concurrent(
            session, form(numbered(1000)), results_generator=True, **options(session, 3)
        )
        assert isinstance(results, Results)
        assert values_of([next(results)]) == [0]
        results.close()
        sent = session.sent
        answer_all(session)
    # What was being handed to the session when it was closed may still go.
    assert session.sent <= sent + 3
    assert sent <= 1 + 4 * 3 + 3
    assert list(results) == []


@any_strategy
def test_a_stream_that_is_dropped_sends_no_more(options: Options) -> None:
    session = ScriptedSession()
    results = execute_concurrent(
        session, numbered(1000), results_generator=True, **options(session, 3)
    )
    wait_for(lambda: len(session.pending) == 3)
    del results
    answer_all(session)
    assert session.sent == 3


@any_strategy
def test_a_stream_that_raised_sends_no_more(options: Options) -> None:
    session = ScriptedSession()
    results = execute_concurrent(
        session, numbered(1000), results_generator=True, **options(session, 3)
    )
    wait_for(lambda: len(session.pending) == 3)
    next(r for r in session.pending if r.parameters == (0,)).fail(InvalidRequest("mine"))
    with pytest.raises(InvalidRequest):
        next(iter(results))
    answer_all(session)
    assert session.sent == 3


class Half(Exception):
    """Raised by an input half-way."""


def half(raised: BaseException, count: int = 50) -> Iterator[tuple[str, tuple[int]]]:
    yield from numbered(count)
    raise raised


@any_strategy
@any_form
@pytest.mark.parametrize("raised", [Half("way"), GeneratorExit("way")], ids=repr)
@pytest.mark.parametrize("fail_fast", [True, False])
def test_an_input_that_raises_half_way_raises_here(
    options: Options, run: Callable[..., list[Any]], raised: BaseException, fail_fast: bool
) -> None:
    """With theirs it was a shorter list that looked like success, or a hang."""
    session = ScriptedSession(echo)
    with pytest.raises(type(raised)) as caught:
        run(session, half(raised), raise_on_first_error=fail_fast, **options(session, 4))
    assert caught.value is raised


@any_strategy
@pytest.mark.parametrize("raised", [Half("way"), GeneratorExit("way")], ids=repr)
def test_a_stream_delivers_what_comes_before_an_input_raises(
    options: Options, raised: BaseException
) -> None:
    session = ScriptedSession(echo)
    delivered = []
    with pytest.raises(type(raised)):
        for result in execute_concurrent(
            session, half(raised), results_generator=True, **options(session, 4)
        ):
            delivered.append(result)
    assert values_of(delivered) == list(range(50))


@any_strategy
@pytest.mark.parametrize("run", [run_list, run_stream, run_async])
@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("item", [("q",), ("q", (2,), "more"), None, "qp", {"q": 1, "p": 2}, 5])
def test_a_malformed_pair_raises_at_its_index(
    options: Options, run: Callable[..., list[Any]], kind: Callable[[Any], Any], item: Any
) -> None:
    pairs: list[Any] = [*numbered(7), item, *numbered(3)]
    session = ScriptedSession(echo)
    with pytest.raises(InvalidItemError, match="item 7 of statements_and_parameters") as caught:
        run(session, kind(pairs), **options(session, 3))
    assert caught.value.index == 7
    assert session.sent <= 7


@any_strategy
@any_form
def test_an_input_that_is_none_at_all(options: Options, run: Callable[..., list[Any]]) -> None:
    session = ScriptedSession()
    chosen = options(session, 3)
    for wrong in ("SELECT 1", b"SELECT 1", {"a": 1}, 5):
        with pytest.raises(TypeError, match="statements_and_parameters must be an iterable"):
            execute_concurrent(session, wrong, **chosen)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="statements_and_parameters must be an iterable"):
            execute_concurrent_async(session, wrong, **chosen)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="parameters must be an iterable"):
            execute_concurrent_with_args(session, "q", wrong, **chosen)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="parameters must be an iterable"):
        execute_concurrent_with_args(session, "q", None, **chosen)  # type: ignore[call-overload]


@any_strategy
def test_a_stream_that_nobody_reads_is_bounded(options: Options) -> None:
    """Theirs had sent everything and held every result."""
    pulled: list[None] = []

    def endless() -> Iterator[tuple[str, tuple[int]]]:
        while True:
            pulled.append(None)
            yield "q", (len(pulled) - 1,)

    session = ScriptedSession(echo)
    results = execute_concurrent(session, endless(), results_generator=True, **options(session, 5))
    assert isinstance(results, Results)
    wait_for(lambda: session.sent == 20)
    answer_all(session)
    assert session.sent == len(pulled) == 20
    assert values_of(next(results) for _ in range(1000)) == list(range(1000))
    answer_all(session)
    assert 1000 < session.sent <= len(pulled) <= 1020
    results.close()


@any_strategy
@any_form
@pytest.mark.parametrize("then", ["succeeds", "fails"])
def test_a_late_second_answer_changes_nothing(
    options: Options, run: Callable[..., list[Any]], then: str
) -> None:
    """Theirs counted it as another statement's, and ended before that one was answered."""
    session = ScriptedSession(heard_twice=True)
    earlier: list[Request] = []

    def answer(request: Request) -> None:
        # With seven in flight again, all the answers before this one have been taken.
        if len(session.pending) == 7:
            for again in earlier[-3:]:
                if then == "succeeds":
                    again.succeed([("another's",)])
                else:
                    again.fail(InvalidRequest("late"))
        request.succeed([request.parameters])
        earlier.append(request)

    with Server(session, random.Random(5).choice, answer=answer, ahead=7, total=28):
        results = run(session, numbered(28), **options(session, 7))
    assert values_of(results) == list(range(28))
    assert session.sent == 28
    assert session.most_in_flight == 7


@any_strategy
@pytest.mark.parametrize("run", [run_list, run_stream, run_async])
@HOW
def test_a_failure_says_which_statement_and_parameters(
    options: Options, run: Callable[..., list[Any]], how: str
) -> None:
    """So that nobody zips the input again."""
    session = ScriptedSession(fails_at(5, how=how))
    pairs = [(f"statement {index}", (index,)) for index in range(9)]
    results = run(session, pairs, raise_on_first_error=False, **options(session, 2))
    assert [result.index for result in results if not result.success] == [5]
    assert results[5].statement is pairs[5][0]
    assert results[5].parameters is pairs[5][1]
    assert results[5].attempts == 1
    assert not hasattr(results[5].result_or_exc, "failure")

    with pytest.raises(InvalidRequest) as caught:
        run(session, pairs, raise_on_first_error=True, **options(session, 2))
    failure = caught.value.failure
    assert (failure.index, failure.statement, failure.attempts) == (5, "statement 5", 1)
    assert failure.parameters is pairs[5][1]
    (note,) = caught.value.__notes__
    assert "statement 5 of the input failed: statement 5" in note
    assert "(5,)" not in note


@any_strategy
@any_form
def test_one_exception_for_many_statements_is_not_mixed_up(
    options: Options, run: Callable[..., list[Any]]
) -> None:
    """A connection that dies gives its one exception to all of its requests."""
    dead = OperationTimedOut(errors={"host": "gone"})
    session = ScriptedSession(lambda *_: Reply(error=dead, at_once=True))
    results = run(session, numbered(30), raise_on_first_error=False, **options(session, 4))
    assert [result.index for result in results] == list(range(30))
    assert [result.parameters for result in results] == [(index,) for index in range(30)]
    assert not hasattr(dead, "__notes__")


@any_strategy
@any_form
def test_the_request_timeout_is_not_switched_off(
    options: Options, run: Callable[..., list[Any]]
) -> None:
    """Scylla's sends with a timeout of None, so one lost answer was a hang."""
    session = ScriptedSession(timeout=10.0)
    stop = threading.Event()

    def clock() -> None:
        while not stop.wait(0.001):
            if session.pending:
                session.clock.advance(5.0)

    thread = threading.Thread(target=clock)
    thread.start()
    try:
        results = run(session, numbered(9), raise_on_first_error=False, **options(session, 4))
    finally:
        stop.set()
        thread.join()
    assert [type(result.result_or_exc) for result in results] == [OperationTimedOut] * 9


@pytest.mark.parametrize("kind", [CallbackExecutor, ThreadExecutor])
def test_one_executor_bounds_all_calls_together(kind: Callable[..., Any]) -> None:
    """Fifty callers with a hundred each made five thousand in flight."""
    session = ScriptedSession()
    executor = kind(session, concurrency=8)
    outcomes: list[list[int]] = []

    def call(number: int) -> None:
        run = list(FORMS.values())[number % len(FORMS)]
        outcomes.append(values_of(run(session, numbered(20), executor=executor)))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(25)]
    with Server(session, random.Random(9).choice):
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert outcomes == [list(range(20))] * 25
    assert session.most_in_flight <= 8


@by_name
def test_statements_in_flight_are_as_many_as_were_asked_for(strategy: str) -> None:
    session = ScriptedSession()
    with Server(session, ahead=17, total=100):
        run_list(session, numbered(100), concurrency=17, executor=strategy)
    assert session.most_in_flight == 17


# ---- ExecutionResult beside the drivers' own ----

SAME_ERROR = InvalidRequest("mine")
PAIRS: list[tuple[bool, Any]] = [(True, [(1, "a")]), (True, None), (False, SAME_ERROR)]


@pytest.mark.parametrize(("success", "value"), PAIRS)
def test_an_execution_result_is_used_as_the_drivers(success: bool, value: Any) -> None:
    ours: Any = ExecutionResult(success, value)
    their_own = cassandra.concurrent.ExecutionResult(success, value)
    assert ours == their_own == (success, value)
    assert ours != (not success, value)
    assert repr(ours) == repr(their_own)
    assert (ours[0], ours[1], ours[-1], len(ours)) == (success, value, value, 2)
    unpacked_success, unpacked = ours
    assert (unpacked_success, unpacked) == (success, value)
    assert ours._fields == their_own._fields == ("success", "result_or_exc")
    assert ours._asdict() == their_own._asdict()
    assert type(ours)(success=success, result_or_exc=value) == ours
    assert ExecutionResult.__match_args__ == ("success", "result_or_exc")
    assert isinstance(ours, tuple)
    # The drivers' own pickles only where their module is not compiled.
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(ours, protocol))
        assert type(copy) is ExecutionResult
        assert copy == ours or (copy.success, repr(copy[1])) == (success, repr(value))


def test_execution_results_hash_and_sort_as_the_drivers() -> None:
    own = cassandra.concurrent.ExecutionResult
    assert hash(ExecutionResult(True, 1)) == hash(own(True, 1))
    numbers = [3, 1, 2]
    assert sorted(ExecutionResult(True, n) for n in numbers) == sorted(
        own(True, n) for n in numbers
    )
