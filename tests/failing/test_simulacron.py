"""Nodes that answer with every error, late, never, or hang up: what the caller sees, what is sent.

The nodes are Simulacron's, and keep count of what reached them. The driver's own policy sends
nothing again here, so that what is counted is our doing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import RetryPolicy
from cassandra.protocol import OverloadedErrorMessage, error_classes

from concurrent_exec import Retry, RunStatistics
from tests.executors import any_executor, in_one_process
from tests.failing.cases import BEYOND_SIMULACRON, CASES, SERVER_ERRORS, TIMEOUT, TOGETHER, Case
from tests.failing.observing import COUNT, PLACE, Observed, observe, pairs, sent, session_to, text
from tests.failing.simulacron import FakeCluster
from tests.integration.support import MakeExecutor, values, wait_for

any_cases = pytest.mark.parametrize("cases", TOGETHER.values(), ids=TOGETHER)

RETRY = Retry(max_attempts=3, initial_backoff=0.01)
SLOWER = replace(RETRY, initial_backoff=0.2)
"""Which mostly gives the driver time for a new connection."""
PATIENT = Retry(max_attempts=1000, initial_backoff=0.05, max_backoff=0.2)
"""For failures that pass, however long that takes on a busy machine."""

OVERLOADED = {"result": "overloaded", "message": "on purpose"}


def test_every_error_that_the_drivers_know_is_here() -> None:
    codes = [case.code for case in SERVER_ERRORS]
    assert len(set(codes)) == len(codes)
    assert set(error_classes) <= {*codes, *BEYOND_SIMULACRON}
    assert not set(codes) & set(BEYOND_SIMULACRON)
    together = [case for cases in TOGETHER.values() for case in cases]
    assert sorted(map(str, together)) == sorted(map(str, CASES))


# ---- one statement fails ----


def check_neighbours(observed: Sequence[Observed]) -> None:
    """Nobody else pays for it, but those that come after it on a connection that broke."""
    results, reached = observed[0].results, observed[0].sent
    places = [each.place for each in observed]
    assert len(results) == places[-1] + COUNT - PLACE
    if observed[0].case.breaks:
        unharmed = list(range(PLACE))
    else:
        unharmed = [number for number in range(len(results)) if number not in places]
    assert all(results[number].success for number in unharmed)
    assert [reached[number] for number in unharmed] == [1] * len(unharmed)
    for number, result in enumerate(results):
        if result.success:
            assert reached[number] >= 1
        else:
            assert (result.index, result.statement) == (number, text(number))
            assert reached[number] <= (result.attempts or 0)


def check_it_serves(make_executor: MakeExecutor, session: Any, cluster: FakeCluster) -> None:
    """Whatever there was, the session and an executor over it are of use again."""
    cluster.clear()

    def serves() -> bool:
        with make_executor(session) as executor:
            results = executor.execute(pairs(COUNT), raise_on_first_error=False)
            return all(result.success for result in results)

    wait_for(serves)


@any_executor
@any_cases
def test_without_retry(
    make_executor: MakeExecutor, cases: Sequence[Case], cluster: FakeCluster
) -> None:
    with session_to(cluster) as session:
        observed = observe(cluster, session, make_executor, cases)
        check_neighbours(observed)
        assert max(observed[0].sent) == 1
        for each in observed:
            assert type(each.failed.result_or_exc) is each.case.raises
            assert each.failed.attempts == each.sent_failing == 1
        check_it_serves(make_executor, session, cluster)


@any_executor
@any_cases
@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "not idempotent"])
def test_with_retry(
    make_executor: MakeExecutor, idempotent: bool, cases: Sequence[Case], cluster: FakeCluster
) -> None:
    retry = SLOWER if cases[0].breaks else RETRY
    with session_to(cluster) as session:
        observed = observe(
            cluster, session, make_executor, cases, retry=retry, assume_idempotent=idempotent
        )
    check_neighbours(observed)
    for each in observed:
        check_attempts(each, idempotent)


def check_attempts(observed: Observed, idempotent: bool) -> None:
    """It was sent again as often as it should, and each attempt is told of."""
    case, failed = observed.case, observed.failed
    again = case.again == "always" or (case.again == "if idempotent" and idempotent)
    assert failed.attempts == (RETRY.max_attempts if again else 1), case
    errors: list[Any] = [*(failed.errors or ()), failed.result_or_exc]
    assert len(errors) == failed.attempts
    if case.breaks:
        # The driver may not have a new connection yet: then nothing is sent.
        assert type(errors[0]) is case.raises
        assert {type(error) for error in errors} <= {case.raises, NoHostAvailable}
        unsent = sum(isinstance(error, NoHostAvailable) for error in errors)
        assert observed.sent_failing == failed.attempts - unsent
    else:
        assert [type(error) for error in errors] == [case.raises] * failed.attempts
        assert observed.sent_failing == failed.attempts


@any_executor
def test_failures_that_pass(make_executor: MakeExecutor, cluster: FakeCluster) -> None:
    failing = range(0, COUNT, 3)
    for number in failing:
        cluster.prime(text(number), OVERLOADED)
    with (
        session_to(cluster) as session,
        make_executor(session, retry=PATIENT) as executor,
    ):
        results = executor.execute(pairs(COUNT))
        wait_for(lambda: min(sent(cluster, COUNT)[number] for number in failing) >= 2)
        cluster.clear()
        assert [result.success for result in results] == [True] * COUNT
        told = results.statistics()
        assert (told.succeeded, told.failed) == (COUNT, 0)
    reached = sent(cluster, COUNT)
    assert [count for number, count in enumerate(reached) if number not in failing] == [1] * (
        COUNT - len(failing)
    )
    assert sum(reached) == COUNT + told.retries


@any_executor
def test_after_the_first_failure_nothing_more_is_sent(
    make_executor: MakeExecutor, cluster: FakeCluster
) -> None:
    count, window = 400, 16
    cluster.prime(text(PLACE), OVERLOADED)
    with session_to(cluster) as session:
        with make_executor(session, concurrency=4) as executor:
            results = executor.execute(pairs(count), buffersize=window)
            with pytest.raises(OverloadedErrorMessage) as caught:
                results.all()
            failure: Any = caught.value
            assert failure.failure.index == PLACE
        told = results.statistics()
        reached = sent(cluster, count)
    assert max(reached) == 1
    assert sum(reached) == told.started < count


@any_executor
def test_an_answer_that_is_late_but_in_time(
    make_executor: MakeExecutor, cluster: FakeCluster
) -> None:
    rows = {"rows": [{"name": "late"}], "column_types": {"name": "varchar"}}
    for number in range(0, COUNT, 3):
        cluster.prime(text(number), {"result": "success", "delay_in_ms": 150, **rows})
    with session_to(cluster) as session, make_executor(session) as executor:
        results = executor.execute(pairs(COUNT)).all()
    assert values(results[::3]) == ["late"] * len(results[::3])
    assert [result.success for result in results] == [True] * COUNT
    assert sent(cluster, COUNT) == [1] * COUNT


@any_executor
def test_an_answer_after_its_timeout_is_nobody_elses(
    make_executor: MakeExecutor, cluster: FakeCluster
) -> None:
    def rows(name: str) -> dict[str, Any]:
        types = {"name": "varchar"}
        return {"result": "success", "rows": [{"name": name}], "column_types": types}

    cluster.prime(text(0), {**rows("late"), "delay_in_ms": int(1500 * TIMEOUT)})
    for number in range(1, COUNT):
        cluster.prime(text(number), rows(f"name {number}"))
    with (
        session_to(cluster, timeout=TIMEOUT) as session,
        make_executor(session, concurrency=1) as executor,
    ):
        first, *others = executor.execute(pairs(COUNT), raise_on_first_error=False)
        assert isinstance(first.result_or_exc, OperationTimedOut)
        assert values(others) == [f"name {number}" for number in range(1, COUNT)]
        time.sleep(TIMEOUT)  # now it comes
        again = executor.execute(pairs(COUNT)[1:]).all()
        assert values(again) == values(others)
        assert isinstance(first.result_or_exc, OperationTimedOut)
    assert sent(cluster, COUNT) == [1] + [2] * (COUNT - 1)


@in_one_process  # a worker prepares it once more
def test_a_prepared_statement_that_the_node_has_forgotten(
    make_executor: MakeExecutor, cluster: FakeCluster
) -> None:
    query = "INSERT INTO shop.users (id) VALUES (?)"
    parameters = [(f"user {number}",) for number in range(COUNT)]
    with session_to(cluster) as session:
        insert = session.prepare(query)
        with make_executor(session, concurrency=1) as executor:
            executor.map(insert, parameters).all()
            cluster.clear()
            executor.map(insert, parameters).all()
    received = cluster.received()
    executed = sum(count for (kind, _), count in received.items() if kind == "EXECUTE")
    # The driver prepares it anew, by itself, and sends again what was refused.
    assert (received["PREPARE", query], executed) == (2, 2 * COUNT + 1)


@any_executor
def test_prepared_statements_that_fail(make_executor: MakeExecutor, cluster: FakeCluster) -> None:
    query = "INSERT INTO shop.users (id) VALUES (?)"
    cluster.prime(query, OVERLOADED)
    with session_to(cluster) as session:
        insert = session.prepare(query)
        with make_executor(session) as executor:
            results = executor.map(insert, [()] * COUNT, raise_on_first_error=False).all()
    assert [type(result.result_or_exc) for result in results] == [OverloadedErrorMessage] * COUNT
    assert cluster.received()["EXECUTE", query] == COUNT


@any_executor
def test_the_drivers_own_policy_sends_again_too(
    make_executor: MakeExecutor, pair: FakeCluster
) -> None:
    """Which is why the other tests have none: what a user counts is both together."""
    with session_to(pair, policy=RetryPolicy()) as session:
        wait_for(lambda: len(session.get_pools()) == len(pair.addresses))
        case = next(case for case in CASES if case.name == "overloaded")
        (observed,) = observe(pair, session, make_executor, [case])
    assert sum(observed.sent) == COUNT - 1 + len(pair.addresses)
    assert isinstance(observed.failed.result_or_exc, NoHostAvailable)
    assert (observed.failed.attempts, observed.sent_failing) == (1, len(pair.addresses))


# ---- a node fails ----

Felt = Callable[[], int]
"""How many attempts have failed so far."""


def stop(cluster: FakeCluster, felt: Felt) -> None:
    """The node is gone: it closes its connections, and nothing listens there any more."""
    cluster.stop_listening("stop", node=0)


def stop_listening(cluster: FakeCluster, felt: Felt) -> None:
    """Nothing listens there any more; its connections go on, then break."""
    cluster.stop_listening("unbind", node=0)
    cluster.close_connections(node=0)


def take_no_startup(cluster: FakeCluster, felt: Felt) -> None:
    """Connections break, and new ones can be made, but nobody answers there."""
    cluster.stop_listening("reject_startup", node=0)
    cluster.close_connections(node=0)


def fall_silent(cluster: FakeCluster, felt: Felt) -> None:
    """Connections stay, and nobody answers there; after a while all is read and answered."""
    cluster.pause(node=0)
    wait_for(felt)
    cluster.resume(node=0)


TROUBLES = [stop, stop_listening, take_no_startup, fall_silent]
any_trouble = pytest.mark.parametrize("trouble", TROUBLES)

Trouble = Callable[[FakeCluster, Felt], None]
MANY = 200
IN_FLIGHT = 8
SLOW = range(80, 80 + IN_FLIGHT)
"""In flight when the node fails: each takes its time."""


@pytest.fixture
def slow(pair: FakeCluster) -> None:
    for number in SLOW:
        pair.prime(text(number), {"result": "void", "delay_in_ms": 500})


class WhileItFails:
    """The input: a node fails when some are in flight, and is back before the last come."""

    def __init__(self, cluster: FakeCluster, session: Any, trouble: Trouble) -> None:
        self._cluster = cluster
        self._session = session
        self._trouble = trouble
        self.told: Callable[[], RunStatistics] | None = None
        """Given by the test, which has the results only once they are under way."""

    def __iter__(self) -> Iterator[tuple[str, None]]:
        given = pairs(MANY)
        thread = threading.Thread(target=self._fail)
        thread.start()
        yield from given[:-50]
        thread.join()
        self._cluster.listen(node=0)
        hosts = self._session.cluster.metadata.all_hosts()
        wait_for(lambda: all(host.is_up for host in hosts))
        yield from given[-50:]

    def _fail(self) -> None:
        wait_for(lambda: self.told is not None)
        assert self.told is not None
        told = self.told
        wait_for(lambda: told().started >= SLOW.stop)
        self._trouble(self._cluster, lambda: told().failed + told().retries)


def check_both_are_used(cluster: FakeCluster, session: Any) -> None:
    """The node that was gone gets statements again."""

    def used() -> bool:
        for _ in range(4):
            try:
                session.execute("SELECT back", timeout=20)
            except ConnectionException:
                pass
        return cluster.received(0)["QUERY", "SELECT back"] > 0

    wait_for(used)


@any_executor
@any_trouble
def test_a_node_that_fails_without_retry(
    make_executor: MakeExecutor, trouble: Trouble, pair: FakeCluster, slow: None
) -> None:
    with (
        session_to(pair, timeout=0.8) as session,
        make_executor(session, concurrency=IN_FLIGHT) as executor,
    ):
        items = WhileItFails(pair, session, trouble)
        stream = executor.execute(items, raise_on_first_error=False)
        items.told = stream.statistics
        results = list(stream)
        told = stream.statistics()
        check_both_are_used(pair, session)
    assert len(results) == MANY
    failed = {number: result for number, result in enumerate(results) if not result.success}
    assert [result.index for result in failed.values()] == list(failed)
    assert (told.succeeded, told.failed, told.in_flight) == (MANY - len(failed), len(failed), 0)
    kinds = (ConnectionException, NoHostAvailable, OperationTimedOut)
    assert [each for each in failed.values() if not isinstance(each.result_or_exc, kinds)] == []
    # It was felt; but the other node went on.
    assert failed
    assert len(failed) < MANY // 2
    for result, count in zip(results, sent(pair, MANY), strict=True):
        assert count == 1 if result.success else count <= 1


@any_executor
@any_trouble
def test_a_node_that_fails_with_retry(
    make_executor: MakeExecutor, trouble: Trouble, pair: FakeCluster, slow: None
) -> None:
    with (
        session_to(pair, timeout=0.8) as session,
        make_executor(session, concurrency=IN_FLIGHT, retry=PATIENT) as executor,
    ):
        items = WhileItFails(pair, session, trouble)
        stream = executor.execute(items, assume_idempotent=True)
        items.told = stream.statistics
        assert [result.success for result in stream] == [True] * MANY
        told = stream.statistics()
        check_both_are_used(pair, session)
    assert (told.succeeded, told.failed, told.in_flight) == (MANY, 0, 0)
    assert told.retries > 0
    reached = sent(pair, MANY)
    assert min(reached) >= 1
    assert sum(reached) <= MANY + told.retries
