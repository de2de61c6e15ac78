"""A node dies and comes back in the midst of writes and reads: what was told of them is true."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing import active_children
from typing import Any, TypeVar

import pytest
from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from concurrent_exec import CallbackExecutor, DirectExecutor, Executor, ProcessExecutor, Results
from concurrent_exec.cluster import LocalCassandra, Node
from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import PROOF, REQUEST_TIMEOUT
from tests.executors import IN_ONE_PROCESS
from tests.integration.support import wait_for
from tests.surviving.support import PATIENT, Ledger, Record, Told, all_written, value_of
from tests.surviving.unread import unread_from
from tests.tls import Certificate
from tests.ways import SOME_WAYS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3_600 if PROOF else 400)]

COUNT = 25_000 if PROOF else 750
"""Statements of each of an executor's four runs: half of the writes and reads are with Retry. All
executors go at once, so it is 250,000 writes and as many reads amid which the node dies."""
CONCURRENCY = 128
"""Of each executor: about a third of them are in flight at the node that dies, in each run some."""
HEARTBEATS = 60
"""Bytes that a driver may send to a node by itself; a statement has more."""
NODES = 3
RUNS = 4
"""Of each executor: of writes and of reads, without Retry and with."""
STOCK = 2_000
"""Rows to be read; each many times."""

FAILURES = (DriverException, ConnectionException, NoHostAvailable)
PATIENCE = 1_000 if PROOF else 100
"""Seconds that a third of all the statements may take."""

KEYSPACE = "surviving"
T = TypeVar("T")


@contextmanager
def session_to(options: ConnectionOptions, **arguments: Any) -> Iterator[Any]:
    """Two of three nodes must answer. The driver itself retries nothing.

    arguments: go to the driver's Cluster.
    """
    profile = ExecutionProfile(
        TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.QUORUM,
        request_timeout=REQUEST_TIMEOUT,
        row_factory=tuple_factory,
    )
    with connect(
        options,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
        max_schema_agreement_wait=REQUEST_TIMEOUT,  # as long as anything else on a busy machine
        **arguments,
    ) as session:
        yield session


@pytest.fixture(scope="module")
def options(three_nodes: LocalCassandra) -> ConnectionOptions:
    return ConnectionOptions(tuple(three_nodes.contact_points), three_nodes.port)


@pytest.fixture(scope="module")
def session(options: ConnectionOptions) -> Iterator[Any]:
    """Every row is on three nodes."""
    with session_to(options) as session:
        wait_for(lambda: knows_all_nodes(session), 60)
        session.execute(
            f"CREATE KEYSPACE {KEYSPACE} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        Ledger.create(session, f"{KEYSPACE}.rows")
        yield session


def knows_all_nodes(session: Any) -> bool:
    """Whether the driver, and the node that it asks, know what each of the nodes owns.

    That a node is up may be heard of before.
    """
    session.cluster.refresh_nodes(force_token_rebuild=True)
    owners = session.cluster.metadata.token_map.token_to_host_owner.values()
    return len(set(owners)) == NODES


class Crash:
    """A node that dies when all of `inputs` are at a third, and is back before their last third."""

    def __init__(self, node: Node, inputs: int, drained: Callable[[], bool]) -> None:
        """Make one; it begins when the inputs are there and all is `drained` that must be."""
        self.node = node
        self._drained = drained
        self.seconds_down = 0.0
        # They go on from there together, so that every run is under way when it happens.
        self._arrivals = threading.Barrier(inputs + 1, self._stand_still)
        self._over = threading.Event()

    def _stand_still(self) -> None:
        wait_for(self._drained, PATIENCE)
        # From now on nothing comes from the node, though it is sent as much as the others: so it
        # is no luck that each run has statements in flight there when it dies.
        assert self.node.pid is not None
        os.kill(self.node.pid, signal.SIGSTOP)

    def in_the_midst_of(self, items: Sequence[T]) -> Iterator[T]:
        """Return an input: what runs go on with while the node is down is its second third."""
        for place, item in enumerate(items):
            if place == len(items) // 3:
                self._arrivals.wait(PATIENCE)
            elif place == 2 * len(items) // 3:
                self._over.wait()
            yield item

    def happen(self, under_way: Callable[[], bool]) -> None:
        """Wait for all inputs and until `under_way`; kill the node and start it again."""
        try:
            self._arrivals.wait(PATIENCE)
            wait_for(under_way, PATIENCE)
            time.sleep(0.3)  # what waits for the node gets more and more
            started = time.monotonic()
            self.node.kill()
            self.node.start()
            self.seconds_down = time.monotonic() - started
        finally:
            self._over.set()


def host_id(session: Any, node: Node) -> object:
    """Ask a node itself who it is; it has that from its data."""
    host = session.cluster.metadata.get_host(node.address, node.port)
    asked: list[object] = []

    def answers() -> bool:
        try:
            found = session.execute("SELECT host_id FROM system.local", host=host)
        except (NoHostAvailable, ConnectionException):
            return False  # the driver has not come back to it yet
        asked.append(found.one()[0])
        return True

    wait_for(answers, 60)
    return asked[0]


@pytest.fixture(scope="module")
def stock(session: Any) -> Ledger:
    """Rows that are there from the start."""
    ledger = Ledger(session, f"{KEYSPACE}.rows")
    with CallbackExecutor(session) as executor:
        ledger.fill(executor, STOCK)
    return ledger


@dataclass(frozen=True)
class Trial:
    """What one executor, or one for each run, has under way when the node dies."""

    executors: Sequence[Executor[Any]]
    once: Ledger
    """Its writes are no more than once, as all of them are appends."""
    again: Ledger
    """Its writes are repeated until they succeed."""
    runs: dict[str, tuple[Results[Any], Future[Told]]]

    def under_way(self) -> bool:
        """Whether the node has been sent what it takes to fill the executors, or enough."""
        return all(in_flight(each) == CONCURRENCY for each in self.executors) or all(
            run.statistics().started > COUNT // 3 + 50 for run, _ in self.runs.values()
        )


KEYS = [(7 * place) % STOCK for place in range(COUNT)]
"""The rows that are read."""


def begin(
    executors: Sequence[Executor[Any]], stock: Ledger, crash: Crash, pool: ThreadPoolExecutor
) -> Trial:
    """Start the four runs of one executor, or of one for each, and to read their results."""
    session = executors[0].session or stock.session  # there is none here for other processes
    once, again = (Ledger(session, stock.table) for _ in range(2))
    again.insert.is_idempotent = True
    turns = cycle(executors)

    def read_right(index: int, rows: Any) -> None:
        assert list(rows) == [(KEYS[index], value_of(stock.run, KEYS[index]))]

    def run(statement: Any, parameters: list[Any], check: Any, **options: Any) -> Any:
        results = next(turns).map(
            statement, crash.in_the_midst_of(parameters), raise_on_first_error=False, **options
        )
        return results, pool.submit(Told.by, results, check)

    reads = [(stock.run, key) for key in KEYS]
    careful = {"retry": PATIENT, "assume_idempotent": True}
    runs = {
        "writes": run(once.append, [once.appended(key) for key in range(COUNT)], is_empty),
        "reads": run(once.select, reads, read_right),
        "writes with Retry": run(
            again.insert, [again.row(key) for key in range(COUNT)], is_empty, retry=PATIENT
        ),
        "reads with Retry": run(once.select, reads, read_right, **careful),
    }
    return Trial(executors, once, again, runs)


@contextmanager
def by_processes(options: ConnectionOptions, stock: Ledger) -> Iterator[list[Executor[Any]]]:
    """Executors of one process each, which have their sessions to the nodes, for one run each.

    A process is at one chunk at a time, which may be all of one run: shared by the runs, of some of
    them nothing would be in flight at the node that dies. What the parent has in flight need not
    have been sent by the process yet: so these are drained before the node stands still, and then
    the kernel knows what it has not read of each.
    """
    with ExitStack() as opened:
        executors: list[Executor[Any]] = [
            opened.enter_context(
                ProcessExecutor(partial(session_to, options), processes=1, concurrency=CONCURRENCY)
            )
            for _ in range(RUNS)
        ]
        first = [
            each.submit(stock.select, (stock.run, 0), retry=PATIENT, assume_idempotent=True)
            for each in executors
        ]
        for future in first:
            assert list(future.result(PATIENCE)) == [(0, value_of(stock.run, 0))]
        yield executors


def in_flight(executor: Executor[Any]) -> int:
    return executor.statistics().in_flight


def has_sent_to(node: Node, worker: int | None) -> bool:
    """Whether a process has sent statements to a node that stands still."""
    assert worker is not None
    return unread_from(worker, (node.address, node.port)) > HEARTBEATS


def test_each_statement_goes_to_a_replica(session: Any) -> None:
    """One of three nodes has it: what another coordinates went there by mistake."""
    keyspace, count = f"{KEYSPACE}_once", 300
    session.execute(
        f"CREATE KEYSPACE {keyspace} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(f"CREATE TABLE {keyspace}.rows (key int PRIMARY KEY)")
    select = session.prepare(f"SELECT key FROM {keyspace}.rows WHERE key = ?")
    metadata = session.cluster.metadata
    coordinators = set()
    with DirectExecutor(session) as executor:
        results = executor.map(select, [(key,) for key in range(count)]).all()
    for key, result in enumerate(results):
        host = result.unwrap().response_future.coordinator_host
        assert [host] == list(metadata.get_replicas(keyspace, select.bind((key,)).routing_key))
        coordinators.add(host)
    assert len(coordinators) == NODES


def test_what_is_told_of_writes_and_reads_is_true(
    three_nodes: LocalCassandra,
    options: ConnectionOptions,
    session: Any,
    stock: Ledger,
    certificate: Certificate,
    record_property: Record,
) -> None:
    """All executors are at it when the node dies, each with four runs; one in several ways."""
    node = three_nodes.nodes[1]
    before = host_id(session, node), node.pid
    with ExitStack() as opened:
        executors: dict[str, list[Executor[Any]]] = {
            name: [opened.enter_context(make_executor(session, concurrency=CONCURRENCY))]
            for name, make_executor in IN_ONE_PROCESS.items()
        }
        for name, way in SOME_WAYS.items():
            arguments = way.arguments(certificate)
            other = opened.enter_context(session_to(options, **arguments))
            direct = opened.enter_context(DirectExecutor(other, concurrency=CONCURRENCY))
            executors[f"direct, {name}"] = [direct]
        executors["process"] = opened.enter_context(by_processes(options, stock))
        workers = [child.pid for child in active_children()]
        assert len(workers) == RUNS
        inputs = RUNS * len(executors)
        crash = Crash(node, inputs, lambda: not any(map(in_flight, executors["process"])))
        pool = opened.enter_context(ThreadPoolExecutor(inputs))
        trials = {name: begin(these, stock, crash, pool) for name, these in executors.items()}
        crash.happen(
            lambda: (
                all(trial.under_way() for trial in trials.values())
                and all(has_sent_to(node, worker) for worker in workers)
            )
        )
        after = host_id(session, node), node.pid
        assert after[0] == before[0]
        assert after[1] != before[1]
        record_property(
            "seconds from the kill until the node served again", f"{crash.seconds_down:.1f}"
        )
        told = {
            name: {what: future.result() for what, (_, future) in trial.runs.items()}
            for name, trial in trials.items()
        }
        for name, trial in trials.items():
            for what, (results, _) in trial.runs.items():
                record_property(f"{name}: {what}", counted(results, told[name][what]))
        ledgers = [each for trial in trials.values() for each in (trial.once, trial.again)]
        written = all_written(trials["callback"].executors[0], ledgers)
        for name, trial in trials.items():
            check(trial, told[name], stock, written)


def check(trial: Trial, told: dict[str, Told], stock: Ledger, written: dict[str, set[int]]) -> None:
    """See that what an executor told is true; `written` is what is there, by run."""
    # The death was felt: else this would show nothing.
    assert told["writes"].failed
    assert told["reads"].failed
    assert trial.runs["writes with Retry"][0].statistics().retries
    assert trial.runs["reads with Retry"][0].statistics().retries
    for name in ("writes", "reads"):
        for index, result in told[name].failed.items():
            assert isinstance(result.result_or_exc, FAILURES), repr(result.result_or_exc)
            assert (result.index, result.attempts) == (index, 1)
            given = trial.once.appended(index) if name == "writes" else (stock.run, KEYS[index])
            assert result.parameters == given
    assert not told["writes with Retry"].failed
    assert not told["reads with Retry"].failed

    # What failed may have been written all the same; what succeeded was.
    assert told["writes"].succeeded <= written[trial.once.run] <= set(range(COUNT))
    assert written[trial.again.run] == set(range(COUNT))


def counted(results: Results[Any], told: Told) -> str:
    """See that a run has counted what it told of, and that nothing is missing; say the counts."""
    counts = results.statistics()
    assert len(told.succeeded) + len(told.failed) == COUNT
    assert counts.pulled == counts.started == COUNT
    assert (counts.succeeded, counts.failed) == (len(told.succeeded), len(told.failed))
    return (
        f"{counts.succeeded:,} succeeded, {counts.failed:,} failed {told.kinds() or ''}, "
        f"{counts.retries:,} sent again, in {counts.elapsed:.0f} s"
    )


def is_empty(index: int, rows: Any) -> None:
    assert not list(rows)
