"""Traces and metrics for OpenTelemetry.

Names are those of its stable semantic conventions for database clients
(https://opentelemetry.io/docs/specs/semconv/db/database-spans/ and .../database-metrics/);
those that begin with `concurrent_exec.` are this library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrent_exec.model import (
    Observer,
    RunFinished,
    RunStarted,
    StatementRetried,
    StatementSettled,
    StatementStarted,
)
from concurrent_exec.model.statement import statement_text
from concurrent_exec.observers._missing import missing

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Seconds; the conventions' own for `db.client.operation.duration`."""
MOST_EVENTS = 100
"""So many events a run's span has at most: the first."""
_REMEMBERED = 100
"""So many statements are remembered with their attributes."""

_Key = tuple[RunStarted | None, int]


class OpenTelemetryObserver(Observer):
    """One span a run, whatever the number of its statements, and metrics of every attempt.

    A run's span is a child of the caller's, named by the operation and table ("INSERT users"). It
    has an event for each retry and each failure, up to a hundred, with the statement's index and
    `error.type`, and at its end the counts (`concurrent_exec.succeeded`, `.failed`, `.retries`).

    With `statement_spans=True` each attempt has a span of its own as well, of kind CLIENT; one that
    was sent in a batch tells `db.operation.batch.size`. It is a child of the run's span, or, of a
    statement that was submitted, of the caller's.

    The text of a statement is given (`db.query.text`) where it is prepared, and so has markers for
    values; that of others may have the values themselves, and is given with `query_text=True`.

    The metrics are `db.client.operation.duration`, which of a batch has each of its statements,
    `concurrent_exec.in_flight`, and `concurrent_exec.retries`.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        statement_spans: bool = False,
        query_text: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Make an observer (extra `opentelemetry`; the SDK and its exporters are yours to choose).

        tracer_provider, meter_provider: the global ones by default.
        statement_spans: whether each attempt has a span as well: a million may.
        query_text: whether texts of statements that are not prepared are given too.
        attributes: what every span and metric has besides, such as `server.address`, or
            `db.system.name` in place of "cassandra".

        Raises ImportError, which says what to install, where opentelemetry-api is missing.
        """
        try:
            from opentelemetry import metrics, trace
        except ModuleNotFoundError as exc:
            raise missing("OpenTelemetryObserver", "opentelemetry", exc) from exc
        self._trace = trace
        self._tracer = trace.get_tracer("concurrent_exec", tracer_provider=tracer_provider)
        meter = metrics.get_meter("concurrent_exec", meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._in_flight = meter.create_up_down_counter(
            "concurrent_exec.in_flight",
            unit="{statement}",
            description="Statements that the session has not answered yet.",
        )
        self._retries = meter.create_counter(
            "concurrent_exec.retries",
            unit="{attempt}",
            description="Attempts that failed and were to be made again.",
        )
        self._statement_spans = statement_spans
        self._query_text = query_text
        self._common = {"db.system.name": "cassandra", **(attributes or {})}
        self._runs: dict[RunStarted, Span] = {}
        self._events: dict[RunStarted, int] = {}
        self._attempts: dict[_Key, Span] = {}
        self._known: dict[int, tuple[Any, dict[str, Any]]] = {}

    def on_run_started(self, details: RunStarted) -> None:
        """Start the run's span."""
        statement = details.statement
        known = self._common if statement is None else self._describe(statement)
        attributes = {**known, **self._text(statement)}
        if details.total is not None:
            attributes["concurrent_exec.total"] = details.total
        self._runs[details] = self._tracer.start_span(_name(known), attributes=attributes)
        self._events[details] = 0

    def on_started(self, details: StatementStarted) -> None:
        """Start a span, if each is to have one."""
        self._in_flight.add(1, self._common)
        if not self._statement_spans:
            return
        known = self._describe(details.statement)
        parent = None
        if details.run is not None:
            parent = self._trace.set_span_in_context(self._runs[details.run])
        self._attempts[details.run, details.index] = self._tracer.start_span(
            _name(known),
            context=parent,
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                **known,
                **self._text(details.statement),
                "concurrent_exec.index": details.index,
                "concurrent_exec.attempts": details.attempts,
            },
        )

    def on_retry(self, details: StatementRetried) -> None:
        """End the attempt's span; note it at the run's."""
        kind = type(details.error).__name__
        self._retries.add(1, {**self._common, "error.type": kind})
        self._answered(details, kind)
        self._event("concurrent_exec.retry", details, kind)

    def on_settled(self, details: StatementSettled) -> None:
        """End the attempt's span; note a failure at the run's."""
        kind = None if details.success else type(details.error).__name__
        self._answered(details, kind)
        if kind is not None:
            self._event("concurrent_exec.failure", details, kind)

    def on_finished(self, details: RunFinished) -> None:
        """End the run's span."""
        counts = details.statistics
        span = self._runs.pop(details.run)
        del self._events[details.run]
        span.set_attribute("concurrent_exec.succeeded", counts.succeeded)
        span.set_attribute("concurrent_exec.failed", counts.failed)
        span.set_attribute("concurrent_exec.retries", counts.retries)
        if details.error is not None:
            self._fail(span, type(details.error).__name__)
        span.end()

    def _answered(self, details: StatementRetried | StatementSettled, kind: str | None) -> None:
        if details.seconds is None:
            return
        self._in_flight.add(-1, self._common)
        attributes = self._describe(details.statement)
        if kind is not None:
            attributes = {**attributes, "error.type": kind}
        self._duration.record(details.seconds, attributes)
        span = self._attempts.pop((details.run, details.index), None)
        if span is not None:
            if details.batch_size > 1:
                span.set_attribute("db.operation.batch.size", details.batch_size)
            if kind is not None:
                self._fail(span, kind)
            span.end()

    def _event(self, name: str, details: StatementRetried | StatementSettled, kind: str) -> None:
        run = details.run
        if run is None or self._events[run] >= MOST_EVENTS:
            return
        self._events[run] += 1
        self._runs[run].add_event(
            name,
            {
                "concurrent_exec.index": details.index,
                "concurrent_exec.attempts": details.attempts,
                "error.type": kind,
            },
        )

    def _fail(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)

    def _text(self, statement: Any) -> dict[str, str]:
        if statement is None or not (self._query_text or _prepared(statement) is not None):
            return {}
        return {"db.query.text": statement_text(statement)}

    def _describe(self, statement: Any) -> dict[str, Any]:
        """Return the attributes that tell what kind of statement it is."""
        statement = statement if (prepared := _prepared(statement)) is None else prepared
        known = self._known.get(id(statement))
        if known is None or known[0] is not statement:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[id(statement)] = statement, {**self._common, **_kind(statement)}
        return known[1]


def _prepared(statement: Any) -> Any:
    """Return the prepared statement that `statement` is or was bound from, or None."""
    prepared = getattr(statement, "prepared_statement", statement)
    return prepared if hasattr(prepared, "column_metadata") else None


def _kind(statement: Any) -> dict[str, str]:
    """Return operation and table, as far as they can be told without parsing more than a word."""
    kind: dict[str, str] = {}
    words = statement_text(statement).split(None, 1)
    if type(statement).__name__ == "BatchStatement":
        kind["db.operation.name"] = "BATCH"
    elif words and words[0].isalpha():
        kind["db.operation.name"] = words[0]
    columns = getattr(statement, "column_metadata", None)
    if columns:
        kind["db.namespace"] = columns[0].keyspace_name
        kind["db.collection.name"] = columns[0].table_name
    return kind


def _name(attributes: dict[str, Any]) -> str:
    """Return a span's name, as the conventions make it."""
    operation = attributes.get("db.operation.name")
    if operation is None:
        return str(attributes["db.system.name"])
    target = attributes.get("db.collection.name", attributes.get("db.namespace"))
    return str(operation if target is None else f"{operation} {target}")
