"""What is kept of a driver's result is as the driver's own, over its own ResponseFuture.

Every check is made twice over one future: on the driver's `ResultSet`, which is what the driver
would have handed out, and on ours. The futures are the driver's own class, and complete by its
own methods; only what would go over the network is replaced.
"""

from __future__ import annotations

import gc
import importlib.util
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import cassandra.cluster
import pytest
from cassandra.cluster import ResponseFuture, ResultSet
from cassandra.cqltypes import Int32Type, UTF8Type
from cassandra.query import (
    BatchStatement,
    BoundStatement,
    PreparedStatement,
    SimpleStatement,
    dict_factory,
    named_tuple_factory,
    ordered_dict_factory,
    tuple_factory,
)

from concurrent_exec import (
    CallbackExecutor,
    ExecutionResult,
    ThreadExecutor,
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.drivers import detached, result_set, results

NAMES = ["k", "v"]
TYPES = [Int32Type, UTF8Type]
ROWS = [(1, "a"), (2, "b"), (3, None)]

FACTORIES = {
    "named tuples": named_tuple_factory,
    "tuples": tuple_factory,
    "dicts": dict_factory,
    "ordered dicts": ordered_dict_factory,
}
any_factory = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)


def future_of(
    query: Any = None, factory: Any = named_tuple_factory, kind: Any = ResponseFuture
) -> Any:
    """A driver's future that waits for its answer, without a network."""
    return kind(
        session=mock.Mock(),
        message=mock.Mock(),
        query=query if query is not None else SimpleStatement("SELECT k, v FROM t"),
        timeout=None,
        row_factory=factory,
        load_balancer=mock.Mock(**{"make_query_plan.return_value": []}),
        start_time=1.0,
    )


def answer(
    future: Any,
    rows: list[Any] | None = None,
    names: list[str] | None = None,
    *,
    state: bytes | None = None,
    warnings: list[str] | None = None,
    payload: dict[str, bytes] | None = None,
    traces: list[Any] | None = None,
) -> Any:
    """Complete `future` as the driver does for such an answer; no rows is a void one."""
    future.coordinator_host = "the coordinator"
    future._warnings = warnings
    future._custom_payload = payload
    future._query_traces = traces
    if rows is None:
        future._col_names = future._col_types = None
        future._set_final_result(None)
    else:
        future._paging_state = state
        future._col_names = names = NAMES if names is None else names
        future._col_types = TYPES[: len(names)]
        future._set_final_result(future.row_factory(names, rows))
    return future


def heard(future: Any) -> Any:
    """What the future gives its callbacks."""
    rows: list[Any] = []
    future.add_callback(rows.append)
    future.clear_callbacks()
    return rows[0]


def own_of(future: Any) -> Any:
    """The driver's own result of a completed future."""
    return future.result()


def by_callback(future: Any) -> Any:
    """Ours, as the callback strategy makes it."""
    return result_set(future, heard(future))


def by_execute(future: Any) -> Any:
    """Ours, as the thread strategy makes it of what `session.execute` returns."""
    return detached(future.result())


both_ways = pytest.mark.parametrize("ours_of", [by_callback, by_execute])


def said(call: Callable[[], Any]) -> Any:
    """What `call` returns, or what it raises."""
    try:
        return call()
    except Exception as exc:
        return type(exc), str(exc)


def indexed(result: Any, index: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return result[index]


READ: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "all": lambda result: result.all(),
    "one": lambda result: result.one(),
    "one after reading": lambda result: (list(result), result.one()),
    "bool": bool,
    "bool after reading": lambda result: (list(result), bool(result)),
    "twice": lambda result: (list(result), list(result)),
    "next": lambda result: (next(iter(result)), next(result)),
    "current rows": lambda result: result.current_rows,
    "current rows while reading": lambda result: (next(iter(result)), result.current_rows),
    "equal": lambda result: (result == ROWS, result == [], result != ROWS),
    "equal after reading": lambda result: (next(iter(result)), result == ROWS),
    "first": lambda result: indexed(result, 0),
    "last": lambda result: indexed(result, -1),
    "beyond": lambda result: indexed(result, 9),
    "list mode, then reading": lambda result: (indexed(result, 0), list(result), list(result)),
    "more pages": lambda result: result.has_more_pages,
    "fetch next page": lambda result: (result.fetch_next_page(), result.current_rows),
    "column names": lambda result: result.column_names,
    "column types": lambda result: result.column_types,
    "paging state": lambda result: result.paging_state,
    "cancel continuous paging": lambda result: result.cancel_continuous_paging(),
    "applied": lambda result: result.was_applied,
    "no trace": lambda result: (result.get_query_trace(), result.get_all_query_traces()),
    "no length": lambda result: len(result),
    "unknown": lambda result: result.no_such_attribute,
}
any_reading = pytest.mark.parametrize("read", READ.values(), ids=READ)


# ---- rows ----


@both_ways
@any_factory
@any_reading
@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_read_as_the_drivers_own(
    ours_of: Callable[[Any], Any], factory: Any, read: Callable[[Any], Any], count: int
) -> None:
    def outcome(result_of: Callable[[Any], Any]) -> Any:
        result = result_of(answer(future_of(factory=factory), ROWS[:count]))
        return said(lambda: read(result))

    assert repr(outcome(ours_of)) == repr(outcome(own_of))


@both_ways
def test_it_is_a_result_set_that_has_let_the_request_go(ours_of: Callable[[Any], Any]) -> None:
    future = answer(future_of(), ROWS)
    gone = weakref.ref(future)
    result = ours_of(future)
    assert type(result) is ResultSet
    assert result.response_future is not future
    del future
    gc.collect()
    assert gone() is None
    assert list(result) == ROWS
    assert result.column_names == NAMES


@both_ways
def test_a_factory_that_makes_a_generator(ours_of: Callable[[Any], Any]) -> None:
    def lazily(names: list[str], rows: list[Any]) -> Iterator[Any]:
        return (dict(zip(names, row, strict=True)) for row in rows)

    for read in (list, lambda result: result.one(), lambda result: result == [{}]):
        outcomes = [
            read(result_of(answer(future_of(factory=lazily), ROWS)))
            for result_of in (ours_of, own_of)
        ]
        assert outcomes[0] == outcomes[1]


@both_ways
@pytest.mark.parametrize("shape", [dict, lambda names, rows: {}, lambda names, rows: 5])
def test_a_factory_that_makes_something_else(ours_of: Callable[[Any], Any], shape: Any) -> None:
    """The driver puts what is no collection of rows, or is a mapping, into a list."""

    def factory(names: list[str], rows: list[Any]) -> Any:
        return {"rows": len(rows)} if shape is dict else shape(names, rows)

    ours = ours_of(answer(future_of(factory=factory), ROWS))
    own = own_of(answer(future_of(factory=factory), ROWS))
    assert ours.current_rows == own.current_rows
    assert list(ours) == list(own)


# ---- what comes beside the rows ----


@both_ways
def test_warnings_payload_and_host_are_kept(ours_of: Callable[[Any], Any]) -> None:
    future = answer(future_of(), ROWS, warnings=["large"], payload={"key": b"value"})
    ours, own = ours_of(future).response_future, own_of(future).response_future
    for name in (
        "warnings",
        "custom_payload",
        "coordinator_host",
        "row_factory",
        "is_schema_agreed",
        "has_more_pages",
    ):
        assert getattr(ours, name) == getattr(own, name)
    assert ours.warnings == ["large"]
    assert ours.custom_payload == {"key": b"value"}


@both_ways
@pytest.mark.parametrize(
    "beside",
    [{"warnings": ["large"]}, {"payload": {"key": b"value"}}, {"traces": [mock.Mock()]}],
    ids=["warnings", "payload", "traces"],
)
def test_a_void_answer_keeps_what_came_with_it(
    ours_of: Callable[[Any], Any], beside: dict[str, Any]
) -> None:
    result = ours_of(answer(future_of(), **beside))
    own = own_of(answer(future_of(), **beside))
    assert type(result) is ResultSet
    assert result.response_future.warnings == own.response_future.warnings
    assert result.response_future.custom_payload == own.response_future.custom_payload
    assert result.get_all_query_traces() == own.get_all_query_traces()
    assert result.response_future.coordinator_host == "the coordinator"


@both_ways
def test_a_schema_that_is_not_agreed_is_kept(ours_of: Callable[[Any], Any]) -> None:
    future = future_of()
    future.is_schema_agreed = False
    answer(future)
    assert ours_of(future).response_future.is_schema_agreed is False
    assert ours_of(answer(future_of())).response_future.is_schema_agreed is True


def trace(number: int, events: list[Any] | None = None) -> Any:
    made = mock.Mock(trace_id=number, events=events)
    made.populate.side_effect = lambda **_: setattr(made, "events", ["populated"])
    return made


@both_ways
def test_a_trace_is_fetched_when_it_is_asked_for(ours_of: Callable[[Any], Any]) -> None:
    def asked(result_of: Callable[[Any], Any]) -> tuple[Any, ...]:
        traces = [trace(7)]
        result = result_of(answer(future_of(), ROWS, traces=traces))
        assert not traces[0].populate.called
        found = result.get_query_trace(3.5)
        assert found is traces[0]
        assert result.get_query_trace() is found  # it has its events: not fetched again
        assert result.get_all_query_traces(3.5) == traces
        return (
            [call.kwargs["max_wait"] for call in traces[0].populate.call_args_list],
            result.response_future.get_query_trace_ids(),
        )

    assert asked(ours_of) == asked(own_of) == ([3.5], [7])


@both_ways
def test_all_traces_of_several_responses(ours_of: Callable[[Any], Any]) -> None:
    def asked(result_of: Callable[[Any], Any]) -> tuple[Any, ...]:
        traces = [trace(1), trace(2, ["events"]), trace(3)]
        result = result_of(answer(future_of(), ROWS, traces=traces))
        assert result.get_all_query_traces(1.5) == traces
        assert result.get_query_trace() is traces[-1]
        return (
            [made.populate.call_count for made in traces],
            result.response_future.get_query_trace_ids(),
        )

    assert asked(ours_of) == asked(own_of) == ([1, 0, 1], [1, 2, 3])


# ---- was_applied ----


def bound() -> Any:
    statement = PreparedStatement(
        column_metadata=[],
        query_id=b"id",
        routing_key_indexes=[],
        query="UPDATE t SET v = ? WHERE k = ? IF v = ?",
        keyspace=None,
        protocol_version=4,
        result_metadata=[],
        result_metadata_id=None,
    )
    return BoundStatement(statement)


QUERIES: dict[str, Callable[[], Any]] = {
    "simple": lambda: SimpleStatement("UPDATE t SET v = 1 WHERE k = 1 IF v = 2"),
    "bound": bound,
    "batch": BatchStatement,
    # scylla-driver takes a text like this for a batch, cassandra-driver does not.
    "batch as text": lambda: SimpleStatement(" BEGIN UNLOGGED BATCH UPDATE t SET v = 1 IF v = 2"),
}


@both_ways
@any_factory
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([(True,)], ["[applied]"]),
        ([(False, "other")], ["[applied]", "v"]),
        ([(False, "other"), (False, "more")], ["[applied]", "v"]),
        ([(True, 1)], NAMES),
        ([], ["[applied]"]),
        ([], []),
    ],
)
def test_was_applied_is_as_the_drivers_own(
    ours_of: Callable[[Any], Any],
    factory: Any,
    query: Callable[[], Any],
    rows: list[Any],
    names: list[str],
) -> None:
    def outcome(result_of: Callable[[Any], Any]) -> Any:
        result = result_of(answer(future_of(query(), factory), rows, names))
        return said(lambda: result.was_applied)

    assert outcome(ours_of) == outcome(own_of)


@both_ways
@pytest.mark.parametrize(("query", "applied"), [("simple", True), ("bound", True), ("batch", True)])
def test_was_applied_of_an_lwt(ours_of: Callable[[Any], Any], query: str, applied: bool) -> None:
    for value in (True, False):
        result = ours_of(answer(future_of(QUERIES[query]()), [(value,)], ["[applied]"]))
        assert result.was_applied is value


@both_ways
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_void_answer_is_no_lwt(ours_of: Callable[[Any], Any], query: Callable[[], Any]) -> None:
    for result_of in (ours_of, own_of):
        with pytest.raises(RuntimeError):
            result_of(answer(future_of(query()))).was_applied  # noqa: B018


@both_ways
def test_values_that_are_bound_are_let_go(ours_of: Callable[[Any], Any]) -> None:
    statement = bound()
    gone = weakref.ref(statement)
    future = answer(future_of(statement), ROWS)
    result = ours_of(future)
    assert result.response_future.query is None
    del future, statement
    gc.collect()
    assert gone() is None
    assert list(result) == ROWS


# ---- answers without rows ----

VOID_READ = {
    name: read for name, read in READ.items() if name not in ("applied", "no length", "unknown")
}


@both_ways
@pytest.mark.parametrize("read", VOID_READ.values(), ids=VOID_READ)
def test_a_void_answer_reads_as_the_drivers_own(
    ours_of: Callable[[Any], Any], read: Callable[[Any], Any]
) -> None:
    ours = ours_of(answer(future_of()))
    own = own_of(answer(future_of()))
    assert repr(said(lambda: read(ours))) == repr(said(lambda: read(own)))


@both_ways
def test_a_void_answer_is_a_result_set_and_false(ours_of: Callable[[Any], Any]) -> None:
    result = ours_of(answer(future_of()))
    assert isinstance(result, ResultSet)
    assert not result
    assert result == []
    assert ExecutionResult(True, ours_of(answer(future_of()))) == (True, [])


def change(result: Any) -> None:
    """All that a caller, or the ResultSet itself, may do to it."""
    assert result == []  # list mode
    assert list(result) == []
    assert result.all() == []
    with pytest.raises(IndexError):
        result[1]
    result.fetch_next_page()
    result.current_rows.append("mine")
    result._current_rows.append("mine")
    result.column_names = ["mine"]
    result.column_types = ["mine"]
    result.mine = True


@both_ways
def test_two_void_answers_share_nothing_that_changes(ours_of: Callable[[Any], Any]) -> None:
    changed, other = ours_of(answer(future_of())), ours_of(answer(future_of()))
    shared = changed._current_rows is other._current_rows
    assert not (shared and isinstance(other._current_rows, list))
    change(changed)
    for untouched in (other, ours_of(answer(future_of()))):
        assert (untouched.column_names, untouched.column_types) == (None, None)
        assert untouched.current_rows == []
        assert not untouched
        assert not hasattr(untouched, "mine")
        assert untouched.one() is None
        assert untouched == []
        assert list(untouched) == []


@both_ways
def test_a_void_answer_holds_nothing(ours_of: Callable[[Any], Any]) -> None:
    future = answer(future_of(QUERIES["simple"]()))
    gone = weakref.ref(future)
    result = ours_of(future)
    del future
    gc.collect()
    assert gone() is None
    assert vars(result) == {}
    assert result.response_future.coordinator_host is None
    assert result.response_future.get_query_trace_ids() == []


# ---- further pages ----


class Pages:
    """Answers a future page by page; only the sending is not the driver's own."""

    def __init__(self, pages: list[list[Any]], factory: Any = named_tuple_factory) -> None:
        self.sent = 0
        self._pages = pages
        self.future = future_of(factory=factory)
        self.future.send_request = self.send_request

    def send_request(self) -> None:
        rows = self._pages[self.sent]
        self.sent += 1
        last = self.sent == len(self._pages)
        answer(self.future, rows, state=None if last else f"state {self.sent}".encode())


def paged(pages: list[list[Any]]) -> Pages:
    made = Pages(pages)
    made.send_request()
    return made


PAGES: list[list[Any]] = [[(1, "a"), (2, "b")], [], [(3, "c")], [(4, "d"), (5, "e")]]


@both_ways
def test_further_pages_keep_the_future(ours_of: Callable[[Any], Any]) -> None:
    pages = paged(PAGES)
    result = ours_of(pages.future)
    assert type(result) is ResultSet
    assert result.response_future is pages.future
    assert result.has_more_pages
    assert result.paging_state == b"state 1"
    assert result.current_rows == PAGES[0]
    assert [row.k for row in result] == [1, 2, 3, 4, 5]
    assert pages.sent == 4
    assert not result.has_more_pages


@both_ways
@pytest.mark.parametrize(
    "read",
    [READ[name] for name in ("list", "all", "one", "first", "last", "equal", "twice")],
)
def test_pages_read_as_the_drivers_own(
    ours_of: Callable[[Any], Any], read: Callable[[Any], Any]
) -> None:
    outcomes = []
    for result_of in (ours_of, own_of):
        pages = paged(PAGES)
        outcomes.append((read(result_of(pages.future)), pages.sent))
    assert outcomes[0] == outcomes[1]


@both_ways
def test_pages_by_hand(ours_of: Callable[[Any], Any]) -> None:
    result = ours_of(paged(PAGES).future)
    seen, states = [], []
    while True:
        seen.append(list(result.current_rows))
        states.append(result.paging_state)
        if not result.has_more_pages:
            break
        result.fetch_next_page()
    assert seen == PAGES
    assert states == [b"state 1", b"state 2", b"state 3", None]


@both_ways
def test_a_continuous_paging_session_keeps_the_future(ours_of: Callable[[Any], Any]) -> None:
    future = future_of()
    future._continuous_paging_session = mock.Mock()
    answer(future, ROWS)
    result = ours_of(future)
    assert result.response_future is future
    result.cancel_continuous_paging()
    future._continuous_paging_session.cancel.assert_called_once_with()


# ---- the whole way, through every strategy ----


class FutureSession:
    """A session whose response futures are the driver's own; it answers page by page, at once."""

    def __init__(self, pages_of: Callable[[Any], list[list[Any]] | None]) -> None:
        self.futures: list[Any] = []
        self._pages_of = pages_of

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        pages = self._pages_of(parameters)
        if pages is None:
            future = answer(future_of())
        else:
            future = paged(pages).future
        self.futures.append(weakref.ref(future))
        return future

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        return self.execute_async(query, parameters, **options).result()


def run_list(session: Any, parameters: Any, **options: Any) -> Any:
    return execute_concurrent_with_args(session, "q", parameters, **options)


def run_stream(session: Any, parameters: Any, **options: Any) -> Any:
    pairs = [("q", p) for p in parameters]
    return execute_concurrent(session, pairs, results_generator=True, **options)


def run_async(session: Any, parameters: Any, **options: Any) -> Any:
    pairs = [("q", p) for p in parameters]
    return execute_concurrent_async(session, pairs, **options).result(timeout=30)


any_form = pytest.mark.parametrize("run", [run_list, run_stream, run_async])
by_name = pytest.mark.parametrize("strategy", ["callback", "thread"])


@any_form
@by_name
def test_paged_results(run: Callable[..., Any], strategy: str) -> None:
    def pages_of(parameters: Any) -> list[list[Any]]:
        (start,) = parameters
        return [[(start + page * 10 + row, "v") for row in range(10)] for page in range(3)]

    session = FutureSession(pages_of)
    results = run(session, [(start,) for start in range(0, 600, 30)], executor=strategy)
    found: list[int] = []
    for success, result in results:
        assert success
        assert result.has_more_pages
        found.extend(row.k for row in result)
        assert not result.has_more_pages
    assert found == list(range(600))
    assert len(session.futures) == 20


class LaterSession(FutureSession):
    """Answers on another thread, once somebody has asked to be called back."""

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        pages = Pages([[parameters], [parameters]])

        def serve() -> None:
            while not pages.future._callbacks:
                time.sleep(0.0005)
            pages.send_request()

        threading.Thread(target=serve).start()
        return pages.future


@any_form
@pytest.mark.parametrize("session", [LaterSession, FutureSession])
def test_further_pages_do_not_call_back_again(
    run: Callable[..., Any], session: Callable[..., Any]
) -> None:
    """The driver calls a future's callbacks for each page, as long as it has them."""
    kept = []
    parameters = [(n, "v") for n in range(9)]
    results = run(session(lambda parameters: [[parameters], [parameters]]), parameters)
    for (_, result), expected in zip(results, parameters, strict=True):
        assert result.current_rows == [expected]
        kept.append(result.response_future)
        result.fetch_next_page()
    assert [future._callbacks for future in kept] == [[]] * 9


@by_name
@pytest.mark.parametrize("rows", [[ROWS], None], ids=["rows", "void"])
def test_a_list_of_results_keeps_no_request(strategy: str, rows: Any) -> None:
    session = FutureSession(lambda parameters: rows)
    kept = run_list(session, [(n,) for n in range(50)], executor=strategy)
    gc.collect()
    assert len(kept) == 50
    assert [ref() for ref in session.futures] == [None] * 50


@pytest.mark.parametrize("kind", [CallbackExecutor, ThreadExecutor])
def test_a_submitted_statement_has_the_same_result(kind: Callable[..., Any]) -> None:
    session = FutureSession(lambda parameters: [[parameters]])
    result = kind(session).submit("q", (1, "a")).result(timeout=30)
    gc.collect()
    assert type(result) is ResultSet
    assert list(result) == [(1, "a")]
    assert result.column_names == NAMES
    assert session.futures[0]() is None


# ---- what is not the driver's own, or not as it is known ----


def test_a_future_of_another_kind_is_kept_as_it_is() -> None:
    class Mine(ResponseFuture):  # type: ignore[misc]
        pass

    future = answer(future_of(kind=Mine), ROWS)
    result = result_set(future, heard(future))
    assert type(result) is ResultSet
    assert result.response_future is future
    assert list(result) == ROWS


@pytest.mark.parametrize("value", [None, [(1,)], (), 5, "rows"])
def test_what_is_no_result_set_is_handed_on(value: Any) -> None:
    assert detached(value) is value


def test_a_result_set_of_another_kind_is_handed_on() -> None:
    class Mine(ResultSet):  # type: ignore[misc]
        pass

    result = Mine(answer(future_of(), ROWS), ROWS)
    assert detached(result) is result


def test_all_that_is_read_is_known_of_this_driver() -> None:
    """Else each result would keep its whole request, on this driver, without a word."""
    assert results._known


@pytest.mark.parametrize("name", results._READ)
@pytest.mark.parametrize("rows", [ROWS, None], ids=["rows", "void"])
def test_a_driver_that_lacks_an_attribute(
    monkeypatch: pytest.MonkeyPatch, name: str, rows: Any
) -> None:
    """Its own objects are handed on, whole."""
    future = answer(future_of(), rows)
    heard_rows = heard(future)
    own = future.result()
    monkeypatch.delattr(cassandra.cluster.ResponseFuture, name)
    spec = importlib.util.find_spec("concurrent_exec.drivers.results")
    assert spec is not None
    assert spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    assert not anew._known
    for result in (anew.result_set(future, heard_rows), anew.detached(own)):
        assert type(result) is ResultSet
        assert result.response_future is future
        assert result._current_rows == (rows or [])
