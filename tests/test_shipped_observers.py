"""The observers that come with the library, each read as its own library reads it."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type
from cassandra.query import BatchStatement
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress

from concurrent_exec import BatchExecutor, CallbackExecutor, FailedAttempt, Observer
from concurrent_exec.observers import (
    LatencyHistogram,
    LoggingObserver,
    OpenTelemetryObserver,
    PrometheusObserver,
    RichProgress,
    TqdmProgress,
)
from concurrent_exec.testing import Reply, ScriptedSession, VirtualClock, wait_until_quiet

SECRET = "do not tell"


class Wrong(Exception):
    """What statements fail with."""


class AtOnce:
    """A retry policy: so many attempts, one right after the other."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def delay(self, failed: FailedAttempt) -> float | None:
        return 0.0 if failed.attempts < self.attempts else None


def odd_ones_fail(statement: Any, parameters: Any) -> Reply:
    error = Wrong(SECRET) if parameters and parameters[0] % 2 else None
    return Reply(error=error, at_once=True)


def run(*observers: Observer, count: int, script: Any = odd_ones_fail, **options: Any) -> None:
    """Run statements of which the second, fourth, ... fail."""
    with CallbackExecutor(ScriptedSession(script), observers=observers) as executor:
        executor.map(
            f"SELECT {SECRET!r}", [(n,) for n in range(count)], **options, max_errors=count
        ).all()


# ---- progress ----


def test_tqdm_shows_how_many_are_done_and_have_failed() -> None:
    shown = io.StringIO()
    run(TqdmProgress(file=shown, ascii=True), count=10)
    last = shown.getvalue().rpartition("\r")[2]
    assert "100%" in last
    assert "10/10" in last
    assert "failed=5" in last


def test_tqdm_is_told_the_total_that_a_generator_does_not_know() -> None:
    shown = io.StringIO()
    with CallbackExecutor(
        ScriptedSession(odd_ones_fail), observers=[TqdmProgress(file=shown, total=8)]
    ) as executor:
        executor.execute(("q", (2 * n,)) for n in range(4)).all()
        executor.submit("q").result()
    assert "4/8" in shown.getvalue().rpartition("\r")[2]


def test_rich_has_a_task_for_each_run() -> None:
    progress = Progress(console=Console(file=io.StringIO()))
    observer = RichProgress(progress, description="inserts")
    run(observer, count=10)
    run(observer, count=4)
    assert [(task.description, task.completed, task.total) for task in progress.tasks] == [
        ("inserts", 10, 10),
        ("inserts", 4, 4),
    ]
    assert [task.fields["failed"] for task in progress.tasks] == [5, 2]
    assert progress.finished


def test_rich_shows_a_progress_of_its_own_while_a_run_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(RichProgress(), count=10)
    shown = capsys.readouterr().out
    assert "10/10" in shown
    assert "5 failed" in shown


def test_rich_is_drawn_while_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concurrent_exec.observers.progress.REDRAWN", 0.0)
    progress = Progress(console=Console(file=io.StringIO()))
    session = ScriptedSession()
    with CallbackExecutor(session, observers=[RichProgress(progress)]) as executor:
        results = executor.map("q", [(n,) for n in range(3)], max_errors=1)
        (task,) = progress.tasks
        for done in range(3):
            assert (task.completed, task.fields["failed"]) == (done, done == 2)
            session.pending[0].fail(Wrong()) if done == 1 else session.pending[0].succeed()
        assert len(list(results)) == 3


# ---- logging ----


def test_records_have_the_facts_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "concurrent_exec.statements")
    with CallbackExecutor(
        ScriptedSession(odd_ones_fail), observers=[LoggingObserver()]
    ) as executor:
        executor.map("q", [(1, SECRET)], retry=AtOnce(2), raise_on_first_error=False).all()
    begin, retry, failure, end = (vars(record) for record in caplog.records)
    assert (begin["event"], begin["statement"], begin["total"]) == ("run_started", "q", 1)
    assert (retry["event"], retry["attempts"], retry["delay"]) == ("retry", 1, 0.0)
    assert (failure["event"], failure["index"], failure["error_type"]) == ("failure", 0, "Wrong")
    assert (failure["attempts"], failure["levelname"]) == (2, "WARNING")
    assert (end["event"], end["failed"], end["retries"]) == ("run_finished", 1, 1)
    assert SECRET not in repr([begin, retry, failure, end])
    assert caplog.messages[1:3] == [
        "statement 0 failed with Wrong and will be sent again",
        "statement 0 failed with Wrong",
    ]


def test_records_are_limited_and_the_next_says_what_was_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("concurrent_exec.observers.logs.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO, "mine")
    observer = LoggingObserver(logging.getLogger("mine"), max_per_second=3)
    run(observer, count=100)
    assert len(caplog.records) == 3
    now = 10.0
    run(observer, count=1)
    assert vars(caplog.records[3])["suppressed"] == 49
    assert vars(caplog.records[4])["suppressed"] == 0


# ---- latency histogram ----


def answered_after(observer: Observer, *seconds: float, **options: Any) -> None:
    """Run statements one after the other that take so long."""
    clock = VirtualClock()
    session = ScriptedSession(clock=clock, timeout=None)
    executor = CallbackExecutor(
        session, clock=clock, concurrency=1, observers=[observer], **options
    )
    results = executor.map("q", [(n,) for n in range(len(seconds))], buffersize=len(seconds))
    for each in seconds:
        while not session.pending:
            clock.advance(0.001, settle=lambda: wait_until_quiet(executor, session))
        clock.advance(each)
        session.pending[0].succeed()
        wait_until_quiet(executor, session)
    results.all()
    executor.shutdown()


def test_the_histogram_has_every_latency() -> None:
    observer = LatencyHistogram()
    answered_after(observer, *[0.010] * 98, 0.5, 2.0)
    assert observer.count == 100
    assert observer.percentile(50) == pytest.approx(0.010, rel=0.002)
    assert observer.percentile(99) == pytest.approx(0.5, rel=0.002)
    assert observer.percentile(100) == pytest.approx(2.0, rel=0.002)


def test_where_a_rate_is_set_what_a_stall_held_up_is_counted_as_well() -> None:
    observer = LatencyHistogram()
    answered_after(observer, *[0.010] * 98, 0.45, 1.95, max_per_second=10.0)
    # 10 a second from 1 place: one in 0.1 s. 0.45 s stands for 0.35, 0.25, ... as well.
    assert observer.count == 98 + 5 + 20
    assert observer.percentile(90) == pytest.approx(0.75, rel=0.002)


def test_the_histogram_takes_an_interval_of_the_callers() -> None:
    observer = LatencyHistogram(expected_interval=0.1)
    answered_after(observer, 1.0)
    assert observer.count == 10
    for wrong in (0, -1.0):
        with pytest.raises(ValueError, match=r"^expected_interval must be"):
            LatencyHistogram(expected_interval=wrong)
    with pytest.raises(ValueError, match=r"^digits must be"):
        LatencyHistogram(digits=6)


def test_retried_attempts_are_timed_and_what_was_not_sent_is_not() -> None:
    observer = LatencyHistogram()
    run(observer, count=2, retry=AtOnce(3))
    assert observer.count == 1 + 3


# ---- Prometheus ----


def test_prometheus_counts_by_outcome_and_error() -> None:
    registry = CollectorRegistry()
    run(PrometheusObserver(registry), count=10, retry=AtOnce(3))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"concurrent_exec_{name}", labels)

    assert value("statements_total", outcome="success", error="") == 5
    assert value("statements_total", outcome="failure", error="Wrong") == 5
    assert value("retries_total", error="Wrong") == 10
    assert value("statements_in_flight") == 0
    assert value("concurrency_limit") == 100
    assert value("attempt_duration_seconds_count") == 5 + 15


class Falling:
    """A limiter whose limit falls by one with each answer."""

    max_limit = limit = 9

    def settled(self, **_: Any) -> None:
        self.limit -= 1


def test_prometheus_follows_what_is_in_flight_and_the_limiter() -> None:
    registry = CollectorRegistry()
    session = ScriptedSession()
    executor = CallbackExecutor(
        session, concurrency=Falling(), observers=[PrometheusObserver(registry, namespace="mine")]
    )
    results = executor.map("q", [(n,) for n in range(3)])
    assert registry.get_sample_value("mine_statements_in_flight") == 3
    assert registry.get_sample_value("mine_concurrency_limit") == 9
    for request in session.pending:
        request.succeed()
    assert registry.get_sample_value("mine_statements_in_flight") == 0
    assert registry.get_sample_value("mine_concurrency_limit") == 7  # before the last was told
    results.all()
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusObserver(registry, namespace="mine")


# ---- OpenTelemetry ----


class Telemetry:
    """The SDK, with what it would export."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.observer = OpenTelemetryObserver(
            tracer_provider=self.traces, meter_provider=meters, **options
        )

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        (metric,) = (
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        )
        return list(metric.data.data_points)


def insert_into(session: ScriptedSession) -> Any:
    insert = session.as_prepared(
        "INSERT INTO shop.users (id) VALUES (?)",
        {"id": Int32Type},
        partition_key=["id"],
        table="shop.users",
    )
    insert.is_idempotent = True
    return insert


WHAT = {
    "db.system.name": "cassandra",
    "db.operation.name": "INSERT",
    "db.namespace": "shop",
    "db.collection.name": "users",
}


def test_a_run_is_one_span_with_events() -> None:
    telemetry = Telemetry(attributes={"server.address": "db.example"})
    session = ScriptedSession(odd_ones_fail)
    insert = insert_into(session)
    what = {**WHAT, "server.address": "db.example"}
    tracer = telemetry.traces.get_tracer("test")
    with CallbackExecutor(session, observers=[telemetry.observer]) as executor:
        with tracer.start_as_current_span("request") as request:
            results = executor.map(
                insert, [(n,) for n in range(1000)], retry=AtOnce(2), raise_on_first_error=False
            )
        results.all()
    _, span = telemetry.spans()
    assert (span.name, span.kind) == ("INSERT users", SpanKind.INTERNAL)
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.attributes == {
        **what,
        "db.query.text": "INSERT INTO shop.users (id) VALUES (?)",
        "concurrent_exec.total": 1000,
        "concurrent_exec.succeeded": 500,
        "concurrent_exec.failed": 500,
        "concurrent_exec.retries": 500,
    }
    assert len(span.events) == 100
    retry, failure = span.events[:2]
    assert (retry.name, failure.name) == ("concurrent_exec.retry", "concurrent_exec.failure")
    assert failure.attributes == {
        "concurrent_exec.index": 1,
        "concurrent_exec.attempts": 2,
        "error.type": "Wrong",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert SECRET not in span.to_json()

    durations = {
        point.attributes.get("error.type"): point
        for point in telemetry.points("db.client.operation.duration")
    }
    assert (durations[None].count, durations["Wrong"].count) == (500, 1000)
    assert durations[None].attributes == what
    assert durations[None].explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert [point.value for point in telemetry.points("concurrent_exec.in_flight")] == [0]
    assert [point.value for point in telemetry.points("concurrent_exec.retries")] == [500]


def test_each_attempt_is_a_span_where_asked() -> None:
    telemetry = Telemetry(statement_spans=True)
    with CallbackExecutor(
        ScriptedSession(odd_ones_fail), observers=[telemetry.observer]
    ) as executor:
        with pytest.raises(Wrong):
            executor.map("SELECT 1", [(0,), (1,)], retry=AtOnce(2)).all()
        executor.submit("SELECT 2").result()
    first, second, third, whole, alone = telemetry.spans()
    for attempt in (first, second, third):
        assert (attempt.name, attempt.kind) == ("SELECT", SpanKind.CLIENT)
        assert attempt.parent is not None
        assert whole.context is not None
        assert attempt.parent.span_id == whole.context.span_id
        assert "db.query.text" not in (attempt.attributes or {})
    assert [attempt.status.status_code for attempt in (first, second, third)] == [
        *(StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR),
    ]
    assert whole.status.status_code is StatusCode.ERROR
    assert (whole.attributes or {})["error.type"] == "Wrong"
    assert alone.parent is None


def test_a_span_says_what_is_known_of_each_statement() -> None:
    """Of any number of them, though only the last ones are remembered."""
    telemetry = Telemetry(statement_spans=True, query_text=True)
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    batch = BatchStatement()
    batch.add("INSERT INTO users (id) VALUES (1)")
    given = {
        **{f"SELECT {n}": "SELECT" for n in range(150)},
        **{f"UPDATE t{n}": "UPDATE" for n in range(150)},
        "": "cassandra",
        "/* nobody parses this */ SELECT 1": "cassandra",
    }
    with CallbackExecutor(session, observers=[telemetry.observer]) as executor:
        executor.execute((text, ()) for text in [*given, *given]).all()
        executor.submit(batch).result()
    *attempts, whole, batched = telemetry.spans()
    told = [((span.attributes or {})["db.query.text"], span.name) for span in attempts]
    assert told == [*given.items(), *given.items()]
    assert whole.name == "cassandra"
    # Nobody knows how many a generator gives.
    assert "concurrent_exec.total" not in (whole.attributes or {})
    assert batched.name == "BATCH"


def test_the_text_of_what_is_not_prepared_is_given_only_where_asked() -> None:
    for query_text in (False, True):
        telemetry = Telemetry(query_text=query_text)
        run(telemetry.observer, count=1)
        (span,) = telemetry.spans()
        assert (f"SELECT {SECRET!r}" in repr(span.attributes)) is query_text
        assert (SECRET in span.to_json()) is query_text


def test_a_statement_of_a_batch_tells_its_size() -> None:
    telemetry = Telemetry(statement_spans=True)
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    with BatchExecutor(
        session, batch_mode="replica_set", linger=0, observers=[telemetry.observer]
    ) as executor:
        executor.map(insert_into(session), [(n,) for n in range(3)]).all()
    *attempts, _ = telemetry.spans()
    assert [(span.attributes or {})["db.operation.batch.size"] for span in attempts] == [3, 3, 3]
    assert attempts[0].name == "INSERT users"


# ---- what is missing ----


# ---- all of them ----


def test_what_was_submitted_or_never_sent_is_counted_and_not_timed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock=clock, timeout=None)
    histogram, registry, telemetry = LatencyHistogram(), CollectorRegistry(), Telemetry()
    quiet = logging.getLogger("tests.quiet")
    quiet.setLevel(logging.CRITICAL)
    progress = Progress(console=Console(file=io.StringIO()))
    observers = [
        histogram,
        PrometheusObserver(registry),
        telemetry.observer,
        LoggingObserver(quiet),
        RichProgress(progress),
        TqdmProgress(file=io.StringIO()),
    ]
    with CallbackExecutor(session, concurrency=1, clock=clock, observers=observers) as executor:
        executor.submit("SELECT 1")
        session.pending[0].succeed()
        results = executor.map("SELECT 2", [(1,), (2,)], deadline=1.0, max_errors=5)
        clock.advance(2)  # the second can not be sent any more
        session.pending[0].succeed()
        assert [result.success for result in results] == [True, False]
        executor.submit("SELECT 3")
        session.pending[0].fail(Wrong(SECRET))
    assert histogram.count == 3
    name = "concurrent_exec_attempt_duration_seconds_count"
    assert registry.get_sample_value(name) == 3
    assert registry.get_sample_value("concurrent_exec_statements_in_flight") == 0
    assert sum(each.count for each in telemetry.points("db.client.operation.duration")) == 3
    (task,) = progress.tasks
    assert (task.completed, task.fields["failed"]) == (2, 1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        ("TqdmProgress", "tqdm", "progress"),
        ("RichProgress", "rich", "progress"),
        ("LatencyHistogram", "hdrh", "histogram"),
        ("PrometheusObserver", "prometheus_client", "prometheus"),
        ("OpenTelemetryObserver", "opentelemetry", "opentelemetry"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, make: str, module: str, extra: str
) -> None:
    from concurrent_exec import observers

    for name in [*sys.modules, module]:
        if name.partition(".")[0] == module:
            monkeypatch.setitem(sys.modules, name, None)
    maker: Callable[[], Observer] = getattr(observers, make)
    with pytest.raises(ImportError, match=rf"^{make} needs the package .*\[{extra}\]'$"):
        maker()


def test_importing_them_imports_no_library() -> None:
    script = (
        "import sys, concurrent_exec.observers\n"
        "print({'tqdm', 'rich', 'hdrh', 'prometheus_client', 'opentelemetry'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "set()"
