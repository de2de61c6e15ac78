"""Results without the request that brought them.

A driver's ResultSet refers to its ResponseFuture, and that to the message, the statement's bound
values, the connection, timers and locks: some 4 KB a statement. Here a ResultSet is given a small
stand-in that has what a ResultSet reads of it. It touches internals of the driver, so what it
reads is looked for first: on a driver that lacks any of it the driver's own objects are handed on
as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from cassandra import ConsistencyLevel
from cassandra.cluster import ResponseFuture, ResultSet
from cassandra.query import BatchStatement, SimpleStatement

_READ = (
    "_col_names",
    "_col_types",
    "_continuous_paging_session",
    "_custom_payload",
    "_paging_state",
    "_query_traces",
    "_warnings",
    "coordinator_host",
    "has_more_pages",
    "is_schema_agreed",
    "query",
    "row_factory",
)
_TRACE_CL = ConsistencyLevel.LOCAL_ONE
"""What the drivers read traces with."""
_known = all(hasattr(ResponseFuture, name) for name in _READ)


class _Received:
    """What is kept of a ResponseFuture that has its one and only page."""

    __slots__ = (
        "_col_names",
        "_col_types",
        "_query_traces",
        "coordinator_host",
        "custom_payload",
        "is_schema_agreed",
        "query",
        "row_factory",
        "warnings",
    )

    has_more_pages = False
    _paging_state = None
    _continuous_paging_session = None

    @classmethod
    def of_rows(
        cls,
        names: Any,
        types: Any,
        host: Any,
        row_factory: Any,
        query: Any = None,
        payload: Any = None,
        warnings: Any = None,
    ) -> _Received:
        """Make one of an answer that has one page of rows, which no future here has seen."""
        received = cls.__new__(cls)
        received._col_names = names
        received._col_types = types
        received._query_traces = None
        received.coordinator_host = host
        received.custom_payload = payload
        received.warnings = warnings
        received.query = query if isinstance(query, BatchStatement | SimpleStatement) else None
        received.is_schema_agreed = True
        received.row_factory = row_factory
        return received

    def __init__(self, future: Any) -> None:
        self._col_names = future._col_names
        self._col_types = future._col_types
        self._query_traces = future._query_traces
        self.coordinator_host = future.coordinator_host
        self.custom_payload = future._custom_payload
        self.is_schema_agreed = future.is_schema_agreed
        self.row_factory = future.row_factory
        self.warnings = future._warnings
        # `was_applied` asks whether it was a batch. A bound statement is not kept: it is made
        # anew for each execution of a prepared one, and holds the values.
        query = future.query
        self.query = query if isinstance(query, BatchStatement | SimpleStatement) else None

    def get_query_trace_ids(self) -> list[Any]:
        return [trace.trace_id for trace in self._query_traces or ()]

    def get_query_trace(self, max_wait: float | None = None, *options: Any, **named: Any) -> Any:
        traces = self._query_traces
        return _populated(traces[-1], max_wait, *options, **named) if traces else None

    def get_all_query_traces(
        self, max_wait_per: float | None = None, *options: Any, **named: Any
    ) -> list[Any]:
        traces = self._query_traces or ()
        return [_populated(trace, max_wait_per, *options, **named) for trace in traces]


def _populated(trace: Any, max_wait: float | None, query_cl: Any = _TRACE_CL) -> Any:
    if not trace.events:
        trace.populate(max_wait=max_wait, query_cl=query_cl)
    return trace


class _Nothing:
    """Stands for the ResponseFuture of every answer that says no more than "done"."""

    has_more_pages = False
    is_schema_agreed = True
    custom_payload = coordinator_host = query = row_factory = warnings = None
    _col_names = _col_types = _continuous_paging_session = _paging_state = _query_traces = None

    def get_query_trace_ids(self) -> list[Any]:
        return []

    def get_query_trace(self, *args: Any, **options: Any) -> Any:
        return None

    def get_all_query_traces(self, *args: Any, **options: Any) -> list[Any]:
        return []


class _VoidResultSet(ResultSet):  # type: ignore[misc]
    """The ResultSet of an answer without rows, which shares all that it has with every other."""

    response_future: ClassVar[Any] = _Nothing()
    column_names = None
    column_types = None
    _current_rows: Any = ()
    _page_iter = None
    _list_mode = False

    def __init__(self) -> None:
        pass


def result_set(future: Any, rows: Any) -> Any:
    """Return the ResultSet of a completed `future`, given the `rows` of its callback.

    Rows, further pages, column names and types, paging state, `was_applied`, traces, warnings
    and custom payload are there as in the driver's own. Where there are further pages the
    ResponseFuture is kept, as it is what fetches them; else `response_future` is a stand-in
    that knows coordinator and row factory, but neither message nor bound values. That of an
    answer without rows, warnings, payload or trace knows nothing at all.
    """
    if not _known or type(future) is not ResponseFuture:
        return ResultSet(future, rows)
    if future.has_more_pages or future._continuous_paging_session is not None:
        return ResultSet(future, rows)
    if (
        rows is None
        and future._col_names is None
        and future._warnings is None
        and future._custom_payload is None
        and not future._query_traces
        and future.is_schema_agreed
    ):
        return _VoidResultSet()
    return ResultSet(_Received(future), rows)


def detached(result: Any) -> Any:
    """Return `result_set` of a ResultSet that a session's `execute` has just returned.

    Anything else is returned as it is.
    """
    if type(result) is not ResultSet or not hasattr(result, "_current_rows"):
        return result
    future = result.response_future
    if not _known or type(future) is not ResponseFuture:
        return result
    return result_set(future, result._current_rows if future._col_names is not None else None)


def void_result() -> Any:
    """Return the ResultSet of an answer that says no more than "done"."""
    return _VoidResultSet()


def rows_result(
    names: Any,
    types: Any,
    rows: Any,
    host: Any,
    row_factory: Any,
    query: Any = None,
    payload: Any = None,
    warnings: Any = None,
) -> Any:
    """Return the ResultSet of an answer that is one page of rows.

    names, types: the columns'.
    rows: what `row_factory` has made of them.
    host: the coordinator.
    query: the statement; it is kept only where `was_applied` wants to know it.
    payload, warnings: what else came with it.
    """
    received = _Received.of_rows(names, types, host, row_factory, query, payload, warnings)
    return ResultSet(received, rows)


def rows_results(
    names: Any, types: Any, pages: Iterable[Any], host: Any, row_factory: Any
) -> list[Any]:
    """Return a `rows_result` for each of `pages`, and None for None; they share all but rows."""
    received = _Received.of_rows(names, types, host, row_factory)
    return [None if rows is None else ResultSet(received, rows) for rows in pages]
