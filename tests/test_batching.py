"""BatchExecutor on a scripted session: when it sends, what it puts together, and how that fails."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from threading import Thread
from typing import Any

import pytest
from cassandra import ConsistencyLevel, OperationTimedOut, Unavailable
from cassandra.cqltypes import Int32Type
from cassandra.policies import RetryPolicy
from cassandra.query import BatchStatement, BatchType, PreparedStatement, SimpleStatement

from concurrent_exec import (
    BatchExecutor,
    ExecutorShutdownError,
    FailedAttempt,
    Observer,
    Results,
    Retry,
    StatementSettled,
)
from concurrent_exec.testing import (
    Reply,
    Request,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from concurrent_exec.testing.session import ScriptedOutgoing, ScriptedWire

LINGER = 0.005


class Unwired(ScriptedSession):
    """One that has no wire: all goes through `execute_async`."""

    open_wire = None  # type: ignore[assignment]


class Stage:
    """A BatchExecutor over a session whose answers the test gives; one row a partition."""

    def __init__(
        self, *, make_session: Callable[..., ScriptedSession] = ScriptedSession, **options: Any
    ) -> None:
        self.clock = VirtualClock()
        self.session = make_session(clock=self.clock, timeout=None)
        options = {"batch_mode": "replica_set", "linger": LINGER, **options}
        self._kept: list[Results[Any]] = []
        self.executor = BatchExecutor(self.session, clock=self.clock, **options)

    def insert(self, name: str = "v", **marks: Any) -> PreparedStatement:
        prepared = self.session.as_prepared(
            f"INSERT INTO scripted.rows (k, {name}) VALUES (?, ?)",
            {"k": Int32Type, name: Int32Type},
            partition_key=["k"],
        )
        for mark, value in marks.items():
            setattr(prepared, mark, value)
        return prepared

    def map(self, *args: Any, **options: Any) -> Results[Any]:
        return self._keep(self.executor.map(*args, **options))

    def execute(self, *args: Any, **options: Any) -> Results[Any]:
        return self._keep(self.executor.execute(*args, **options))

    def _keep(self, results: Results[Any]) -> Results[Any]:
        self._kept.append(results)  # dropped ones stop
        return results

    @property
    def pending(self) -> list[Request]:
        wait_until_quiet(self.executor, self.session)
        return self.session.pending

    @property
    def sizes(self) -> list[int]:
        return [request.size for request in self.pending]


def rows(*keys: int) -> list[tuple[int, int]]:
    return [(key, 10 * key) for key in keys]


def test_a_batch_is_unlogged_and_has_what_its_statements_say() -> None:
    stage = Stage()
    insert = stage.insert(consistency_level=ConsistencyLevel.QUORUM, is_idempotent=True)
    results = stage.map(insert, rows(1, 2, 3), timeout=7.0)
    (request,) = stage.pending
    batch = request.statement
    assert isinstance(batch, BatchStatement)
    assert batch.batch_type is BatchType.UNLOGGED
    assert (batch.consistency_level, batch.is_idempotent) == (ConsistencyLevel.QUORUM, True)
    assert (batch.keyspace, batch.routing_key) == ("scripted", Int32Type.to_binary(1, 4))
    assert request.options == {"timeout": 7.0}
    assert request.parameters == [(insert, each) for each in rows(1, 2, 3)]
    assert stage.executor.statistics().in_flight == 3
    request.succeed()
    assert [result.success for result in results] == [True] * 3


def test_partition_key_mode_puts_one_partition_together() -> None:
    stage = Stage(batch_mode="partition_key")
    insert = stage.session.as_prepared(
        "INSERT INTO scripted.rows (k, c) VALUES (?, ?)",
        {"k": Int32Type, "c": Int32Type},
        partition_key=["k"],
        clustering_key=["c"],
    )
    stage.map(insert, [(1, 1), (2, 1), (1, 2), (1, 3), (1, 2)])
    sent = [
        [pair[1] for pair in request.parameters] if request.size > 1 else [request.parameters]
        for request in stage.pending
    ]
    assert sent == [[(1, 1), (1, 2), (1, 3)], [(2, 1)], [(1, 2)]]


@pytest.mark.parametrize(
    "marks",
    [
        {"consistency_level": ConsistencyLevel.ONE},
        {"serial_consistency_level": ConsistencyLevel.LOCAL_SERIAL},
        {"retry_policy": RetryPolicy()},
        {"is_idempotent": True},
    ],
    ids=lambda marks: next(iter(marks)),
)
def test_what_differs_in_what_a_batch_has_once_is_not_mixed(marks: Any) -> None:
    stage = Stage()
    first, second = stage.insert(), stage.insert("w", **marks)
    stage.execute([(first, (1, 1)), (second, (2, 2)), (first, (3, 3)), (second, (4, 4))])
    assert stage.sizes == [2, 2]


@pytest.mark.parametrize(
    "options",
    [{"timeout": 1.0}, {"execution_profile": "other"}, {"assume_idempotent": True}],
    ids=lambda options: next(iter(options)),
)
def test_runs_share_batches_only_where_they_send_alike(options: Any) -> None:
    stage = Stage(concurrency=20)
    insert = stage.insert()
    stage.map(insert, ScriptedInput())  # while it may bring more, the others wait for it
    stage.execute([(SimpleStatement("SELECT"), None)])
    for number, each in enumerate([{}, options, {}]):
        stage.map(insert, rows(2 * number, 2 * number + 1), **each)
    stage.clock.advance(LINGER)
    assert stage.sizes == [1, 4, 2]


@pytest.mark.parametrize("options", [{"trace": True}, {"custom_payload": {"a": b"b"}}])
def test_a_trace_and_a_payload_are_of_one_statement(options: Any) -> None:
    stage = Stage()
    stage.map(stage.insert(), rows(1, 2), **options)
    assert stage.sizes == [1, 1]


def test_what_is_not_prepared_goes_alone_and_in_order() -> None:
    stage = Stage()
    insert = stage.insert()
    pairs = [(insert, each) for each in rows(1, 2)]
    stage.execute([*pairs, ("INSERT", None), *[(insert, each) for each in rows(3, 4)]])
    assert [request.statement == "INSERT" for request in stage.pending] == [False, True, False]
    assert stage.sizes == [2, 1, 2]


def test_a_statement_that_does_not_fit_goes_alone() -> None:
    stage = Stage(max_batch_bytes=1)
    stage.map(stage.insert(), rows(1, 2))
    assert stage.sizes == [1, 1]


def test_values_that_can_not_be_bound_fail_alone() -> None:
    stage = Stage()
    insert = stage.insert()
    results = stage.map(insert, [(1, 1), ("no number", 2), (3, 3)])
    lone, batch = stage.pending  # a scripted session binds nothing; a driver's raises here
    assert (lone.size, batch.size) == (1, 2)
    lone.fail(TypeError("an invalid type"))
    batch.succeed()
    with pytest.raises(TypeError):
        results.all()


# ---- when ----


def test_nothing_waits_where_nothing_is_in_flight() -> None:
    stage = Stage(concurrency=100)
    given = ScriptedInput()
    stage.map(stage.insert(), given)
    given.give((1, 1))
    assert stage.sizes == [1]


def test_what_comes_while_something_is_in_flight_waits_for_company() -> None:
    stage = Stage(concurrency=100)
    given = ScriptedInput()
    stage.map(stage.insert(), given)
    for row in rows(1, 2, 3):
        given.give(row)
        assert stage.sizes == [1]
    stage.clock.advance(LINGER / 2)
    assert stage.sizes == [1]
    assert stage.executor.statistics().in_flight == 1, "what waits has not been started"
    stage.clock.advance(LINGER)
    assert stage.sizes == [1, 2]


def test_an_answer_that_leaves_nothing_in_flight_ends_the_waiting() -> None:
    stage = Stage(concurrency=100)
    given = ScriptedInput()
    stage.map(stage.insert(), given)
    for row in rows(1, 2, 3):
        given.give(row)
        assert stage.sizes == [1]
    stage.pending[0].succeed()
    assert stage.sizes == [2]


def test_the_end_of_the_input_ends_the_waiting() -> None:
    stage = Stage(concurrency=100)
    given = ScriptedInput()
    stage.map(stage.insert(), given)
    for row in rows(1, 2, 3):
        given.give(row)
        assert stage.sizes == [1]
    given.end()
    assert stage.sizes == [1, 2]


def test_submits_wait_for_company_too() -> None:
    stage = Stage(concurrency=100)
    insert = stage.insert()
    futures = [stage.executor.submit(insert, row) for row in rows(1, 2, 3)]
    assert stage.sizes == [1]
    stage.clock.advance(LINGER)
    assert stage.sizes == [1, 2]
    for request in stage.pending:
        request.succeed()
    assert all(future.done() for future in futures)


def test_where_there_is_plenty_nothing_waits() -> None:
    """Half of what may be in flight is."""
    stage = Stage(concurrency=100, max_batch_bytes=1_000_000)
    insert = stage.insert()
    for row in rows(*range(50)):
        stage.executor.submit(insert, row)
        assert stage.sizes == [1]
    stage.executor.submit(insert, (50, 0))
    assert stage.sizes == [1, 50]


@pytest.mark.parametrize(("size", "waits"), [(40, False), (50, True)])
def test_where_permits_are_short_what_is_ready_waits_for_more_of_them(
    size: int, waits: bool
) -> None:
    stage = Stage(concurrency=100, max_batch_bytes=1_000_000)
    insert = stage.insert()
    stage.map(insert, rows(*range(60)))
    assert stage.sizes == [60]
    stage.map(insert, iter(rows(*range(size))))  # all that comes: its end is known
    assert stage.sizes == ([60] if waits else [60, 40])
    stage.clock.advance(LINGER)
    assert stage.sizes == [60, 40]


def test_each_wait_has_its_time() -> None:
    """It starts with the first that waits, not with a later one, and no earlier one ends it."""
    stage = Stage(concurrency=100)
    insert, keys = stage.insert(), count()
    stage.map(insert, ScriptedInput())  # which may always bring more

    def sizes_after(linger: float, submitted: int) -> list[int]:
        stage.clock.advance(linger * LINGER)
        for _ in range(submitted):
            stage.executor.submit(insert, (next(keys), 0))
        return stage.sizes

    assert sizes_after(0.0, 1) == [1]
    assert sizes_after(0.6, 2) == [1]
    assert sizes_after(0.6, 1) == [1]
    assert sizes_after(0.6, 0) == [1, 3]
    assert sizes_after(0.2, 1) == [1, 3]
    assert sizes_after(0.6, 0) == [1, 3]
    assert sizes_after(0.6, 0) == [1, 3, 1]


def test_what_a_batch_has_by_default() -> None:
    """A hundred statements, of one partition; and the first milliseconds of company."""
    session = ScriptedSession(clock=VirtualClock(), timeout=None)
    insert = session.as_prepared(
        "INSERT INTO scripted.rows (k, c) VALUES (?, ?)",
        {"k": Int32Type, "c": Int32Type},
        partition_key=["k"],
        clustering_key=["c"],
    )
    executor = BatchExecutor(session, clock=session.clock, max_batch_bytes=1_000_000)
    pairs = [(1, number) for number in range(101)] + [(2, 0), (3, 0)]
    results = executor.map(insert, pairs)
    wait_until_quiet(executor, session)
    assert [request.size for request in session.pending] == [100, 1, 1, 1]
    futures = [executor.submit(insert, (4, number)) for number in range(2)]
    wait_until_quiet(executor, session)
    assert len(session.pending) == 4
    session.clock.advance(0.005)
    wait_until_quiet(executor, session)
    assert [request.size for request in session.pending[4:]] == [2]
    for request in session.pending:
        request.succeed()
    assert len(results.all()) == len(pairs)
    assert all(future.done() for future in futures)


def test_without_linger_nothing_waits() -> None:
    stage = Stage(concurrency=100, linger=0)
    given = ScriptedInput()
    stage.map(stage.insert(), given)
    for row in rows(1, 2, 3):
        given.give(row)
        wait_until_quiet(stage.executor, stage.session)
    assert stage.sizes == [1, 1, 1]


def test_a_shutdown_between_two_sends_is_no_end_of_the_results() -> None:
    def script(statement: Any, parameters: Any) -> Reply:
        if parameters == (3,):
            executor.shutdown(wait=False, cancel_futures=True)
        return Reply(at_once=True)

    session = ScriptedSession(script)
    executor = BatchExecutor(session)
    results = executor.map("q", [(number,) for number in range(10)])
    assert [next(results).success for _ in range(4)] == [True] * 4
    with pytest.raises(ExecutorShutdownError, match="before all of the 10 statements"):
        next(results)
    assert session.sent == 4


def test_a_stop_reaches_what_waits() -> None:
    stage = Stage(concurrency=100)
    given = ScriptedInput()
    results = stage.map(stage.insert(), given)
    for row in rows(1, 2, 3):
        given.give(row)
        assert stage.sizes == [1]
    results.close()
    stage.clock.advance(1.0)
    assert stage.session.sent == 1


# ---- failures ----


def test_a_failed_batch_of_idempotent_statements_is_laid_bare() -> None:
    stage = Stage()
    insert = stage.insert(is_idempotent=True)
    results = stage.map(insert, rows(1, 2, 3), raise_on_first_error=False)
    (batch,) = stage.pending
    timestamp = batch.message.timestamp
    error = Unavailable("of the batch")
    batch.fail(error)
    one, two, three = stage.pending
    assert [each.parameters for each in (one, two, three)] == rows(1, 2, 3)
    assert [each.message.timestamp for each in (one, two, three)] == [timestamp] * 3
    one.succeed()
    two.fail(OperationTimedOut("its own"))
    three.succeed()
    good, bad, fine = results
    assert [good.success, fine.success] == [True, True]
    assert (bad.index, bad.attempts, bad.batch_size, bad.errors) == (1, 2, 1, (error,))
    assert str(bad.result_or_exc) == str(OperationTimedOut("its own"))


def test_a_failed_batch_of_others_fails_them_all_and_says_so() -> None:
    stage = Stage()
    results = stage.map(stage.insert(), rows(1, 2, 3), raise_on_first_error=False)
    (batch,) = stage.pending
    error = OperationTimedOut("of the batch")
    batch.fail(error)
    found = list(results)
    assert stage.session.sent == 3
    assert [result.result_or_exc for result in found] == [error] * 3
    assert [(result.attempts, result.batch_size) for result in found] == [(1, 3)] * 3
    assert not hasattr(error, "__notes__"), "the driver may have given it to others too"
    with pytest.raises(OperationTimedOut) as raised:
        found[1].unwrap()
    assert raised.value.__notes__ == [
        "concurrent_exec: statement 1 of the input failed in a batch of 3: "
        "INSERT INTO scripted.rows (k, v) VALUES (?, ?)"
    ]


def test_assuming_idempotence_lays_bare_too() -> None:
    stage = Stage()
    stage.map(stage.insert(), rows(1, 2), assume_idempotent=True)
    stage.pending[0].fail(OperationTimedOut())
    assert stage.sizes == [1, 1]


def test_observers_are_told_how_long_each_statement_of_a_batch_took() -> None:
    seconds: list[float | None] = []

    class Timed(Observer):
        def on_settled(self, details: StatementSettled) -> None:
            seconds.append(details.seconds)

    stage = Stage(observers=[Timed()])
    results = stage.map(stage.insert(), rows(1, 2, 3))
    (request,) = stage.pending
    stage.clock.advance(0.25)
    request.succeed()
    assert len(results.all()) == 3
    assert seconds == [0.25] * 3


def test_a_policy_is_told_that_it_was_a_batch() -> None:
    """Unavailable says of a lone write that nothing was applied, but not so of several."""
    asked: list[FailedAttempt] = []

    class Policy(Retry):
        def delay(self, failed: FailedAttempt) -> float | None:
            asked.append(failed)
            return super().delay(failed)

    stage = Stage(retry=Policy())
    results = stage.map(stage.insert(), rows(1, 2), raise_on_first_error=False)
    stage.pending[0].fail(Unavailable("too few"))
    assert [result.success for result in results] == [False, False]
    told = [(failed.batch_size, failed.attempts, failed.sent) for failed in asked]
    assert told == [(2, 1, True)] * 2
    lone = stage.map(stage.insert(), rows(1), raise_on_first_error=False)
    stage.pending[0].fail(Unavailable("too few"))
    assert asked[-1].batch_size == 1
    assert lone.statistics().waiting_for_retry == 1


def test_what_a_stopped_run_leaves_unsent_of_a_batch_is_not_laid_bare() -> None:
    stage = Stage()
    insert = stage.insert(is_idempotent=True)
    results = stage.map(insert, rows(1, 2), raise_on_first_error=False)
    (batch,) = stage.pending
    results.close()
    batch.fail(OperationTimedOut())
    assert stage.pending == []
    assert stage.session.sent == 2


def test_a_stop_reaches_what_was_taken_but_not_sent() -> None:
    """What comes before it in the same launch may fail at once."""
    stage = Stage()
    error = OperationTimedOut()
    stage.session._script = lambda statement, parameters: (
        Reply(error=error, at_once=True) if statement == "bad" else None
    )
    insert, other = stage.insert(), stage.insert("w", consistency_level=ConsistencyLevel.ONE)
    pairs = [(each, row) for row in rows(1, 2) for each in (insert, other)]
    results = stage.execute([("bad", None), *pairs])
    assert stage.pending == []
    assert stage.session.sent == 1
    statistics = results.statistics()
    assert (statistics.started, statistics.failed, statistics.in_flight) == (1, 1, 0)
    with pytest.raises(OperationTimedOut):
        results.all()


# ---- with a wire and without ----


def test_a_session_with_a_wire_is_asked_for_it_and_sends_over_it() -> None:
    clocks: list[Any] = []

    class Wired(ScriptedSession):
        def open_wire(self, clock: Any) -> ScriptedWire:
            clocks.append(clock)
            return super().open_wire(clock)

        def execute_async(self, *args: Any, **options: Any) -> Request:
            raise AssertionError("it has a wire")

    stage = Stage(make_session=Wired)
    results = stage.map(stage.insert(), rows(1, 2))
    assert stage.sizes == [2]
    stage.pending[0].succeed()
    assert len(results.all()) == 2
    assert clocks == [stage.clock]


def test_without_a_wire_a_batch_goes_through_execute_async() -> None:
    stage = Stage(make_session=Unwired)
    insert = stage.insert()
    results = stage.execute([*[(insert, row) for row in rows(1, 2)], ("alone", None)])
    batch, alone = stage.pending
    assert isinstance(batch.statement, BatchStatement)
    assert alone.statement == "alone"
    batch.succeed()
    alone.succeed()
    assert [result.success for result in results] == [True] * 3


def test_a_batch_that_the_session_does_not_take_was_not_sent() -> None:
    told: list[tuple[bool, int]] = []

    class Policy:
        def delay(self, failed: FailedAttempt) -> float | None:
            told.append((failed.sent, failed.batch_size))
            return None

    stage = Stage(make_session=Unwired, retry=Policy())
    error = ValueError()
    stage.session._script = lambda *_: Reply(error=error, refuse=True)
    results = stage.map(stage.insert(), rows(1, 2), raise_on_first_error=False)
    assert [result.result_or_exc for result in results] == [error, error]
    assert told == [(False, 2)] * 2


class Stop(BaseException):
    """What ends whom it reaches."""


@pytest.mark.parametrize("more", [False, True])
def test_what_a_wire_raises_fails_what_was_given_to_it(
    more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And reaches who has sent, after what goes another way was sent too."""
    error = Stop()

    def send(outgoing: ScriptedOutgoing) -> list[Any]:
        raise error

    monkeypatch.setattr(ScriptedOutgoing, "send", send)
    stage = Stage()
    insert = stage.insert()
    statements = [(insert, row) for row in rows(1, 2)]
    futures = [stage.executor._queue(*each, {}) for each in statements]
    lone = [stage.executor._queue("alone", None, {})] if more else []
    with pytest.raises(Stop):
        stage.executor._launch_safely()  # all of them together
    assert [future.exception(0) for future in futures] == [error, error]
    for request in stage.session.pending:
        request.succeed()
    assert all(future.result(0) is not None for future in lone)


def test_what_a_wire_leaves_unsent_goes_through_execute_async(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def send(outgoing: ScriptedOutgoing) -> list[Any]:
        added, outgoing._added = outgoing._added, []
        return added

    monkeypatch.setattr(ScriptedOutgoing, "send", send)
    stage = Stage()
    insert = stage.insert()
    results = stage.map(insert, rows(1, 2))
    (request,) = stage.pending
    assert request.size == 2
    request.succeed()
    assert len(results.all()) == 2
    error = Stop()
    stage.session._script = lambda *_: Reply(error=error, refuse=True)
    with pytest.raises(Stop):
        stage.executor.submit(insert, (3, 3))


def test_what_a_callback_raises_is_logged_unless_it_is_in_the_midst_of_sending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leave(done: Future[Any]) -> None:
        raise SystemExit("of a callback of a future")

    stage = Stage(linger=0)
    insert = stage.insert()
    stage.executor.submit(insert, (1, 1)).add_done_callback(leave)
    (first,) = stage.session.pending
    stage.session._script = lambda *_: first.succeed()
    with pytest.raises(SystemExit):
        stage.executor.submit("answers the first")
    assert not caplog.records
    stage.session._script = None
    stage.executor.submit(insert, (2, 2)).add_done_callback(leave)
    stage.session.pending[-1].succeed()  # on the driver's thread, which must go on
    (record,) = caplog.records
    assert record.getMessage() == "answers could not be passed on"


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_mode": "all"}, "batch_mode must be one of 'partition_key', 'replica_set'"),
        ({"max_batch_statements": 0}, "max_batch_statements must be at least 1"),
        ({"max_batch_bytes": 1.5}, "max_batch_bytes must be a whole number"),
        ({"linger": -1}, "linger must be a finite number of at least 0"),
    ],
)
def test_a_wrong_option_is_named(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        BatchExecutor(ScriptedSession(), **options)


def test_a_session_without_metadata_is_refused() -> None:
    class Bare:
        execute_async = None

    with pytest.raises(TypeError, match="Bare has no cluster"):
        BatchExecutor(Bare())  # type: ignore[arg-type]


def test_what_is_left_for_a_thread_that_an_error_ends_is_sent() -> None:
    class Stop(BaseException):
        pass

    left: list[Future[Any]] = []

    def script(statement: Any, parameters: Any) -> Reply:
        if statement == "bad":  # while it is being sent, another thread comes with more
            other = Thread(target=lambda: left.append(executor.submit("good")))
            other.start()
            other.join()
            return Reply(error=Stop(), refuse=True)
        return Reply(at_once=True)

    executor = BatchExecutor(ScriptedSession(script), linger=0)
    with pytest.raises(Stop):
        executor.submit("bad")
    left[0].result(timeout=20)


def test_what_is_left_for_a_thread_that_is_interrupted_is_sent() -> None:
    left: list[Future[Any]] = []

    def script(statement: Any, parameters: Any) -> Reply:
        if statement == "interrupts":
            other = Thread(target=lambda: left.append(executor.submit("good")))
            other.start()
            other.join()
            signal.raise_signal(signal.SIGINT)
        return Reply(at_once=True)

    executor = BatchExecutor(ScriptedSession(script), linger=0)
    with pytest.raises(KeyboardInterrupt):
        executor.submit("interrupts")
    left[0].result(timeout=20)
