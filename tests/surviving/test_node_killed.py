"""A node dies and comes back in the midst of writes and reads: what was told of them is true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

from concurrent_exec import CallbackExecutor, Results
from concurrent_exec.cluster import LocalCassandra, Node
from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import PROOF
from tests.executors import any_executor
from tests.integration.support import wait_for
from tests.surviving.support import PATIENT, Ledger, MakeExecutor, Record, Told, value_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3_600 if PROOF else 400)]

COUNT = 100_000 if PROOF else 2_500
"""Statements of each of four runs: half of the writes and of the reads are with Retry."""
STOCK = 2_000
"""Rows to be read; each many times."""

FAILURES = (DriverException, ConnectionException, NoHostAvailable)
PATIENCE = 1_000 if PROOF else 100
"""Seconds that a third of all the statements may take."""

KEYSPACE = "surviving"
T = TypeVar("T")


@pytest.fixture(scope="module")
def session(three_nodes: LocalCassandra) -> Iterator[Any]:
    """Every row on three nodes, of which two must answer. The driver itself retries nothing."""
    profile = ExecutionProfile(
        TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.QUORUM,
        request_timeout=20.0,
        row_factory=tuple_factory,
    )
    options = ConnectionOptions(tuple(three_nodes.contact_points), three_nodes.port)
    with connect(
        options,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
    ) as session:
        session.execute(
            f"CREATE KEYSPACE {KEYSPACE} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        Ledger.create(session, f"{KEYSPACE}.rows")
        yield session


class Crash:
    """A node that dies when all of `inputs` are at a third, and is back before their last third."""

    def __init__(self, node: Node, inputs: int) -> None:
        self.node = node
        self.seconds_down = 0.0
        self._arrivals = threading.Barrier(inputs + 1)
        self._over = threading.Event()

    def in_the_midst_of(self, items: Sequence[T]) -> Iterator[T]:
        """Return an input: what runs go on with while the node is down is its second third."""
        for place, item in enumerate(items):
            if place == len(items) // 3:
                # They go on from here together, so that every run is under way when it happens.
                self._arrivals.wait(PATIENCE)
            elif place == 2 * len(items) // 3:
                self._over.wait()
            yield item

    def happen(self, under_way: Callable[[], bool]) -> None:
        """Wait for all inputs and until `under_way`; kill the node and start it again."""
        try:
            self._arrivals.wait(PATIENCE)
            wait_for(under_way, PATIENCE)
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


@any_executor
def test_what_is_told_of_writes_and_reads_is_true(
    make_executor: MakeExecutor,
    three_nodes: LocalCassandra,
    session: Any,
    stock: Ledger,
    record_property: Record,
) -> None:
    node = three_nodes.nodes[1]
    before = host_id(session, node), node.pid
    crash = Crash(node, inputs=4)
    once, again = (Ledger(session, stock.table) for _ in range(2))
    again.insert.is_idempotent = True
    keys = [(7 * place) % STOCK for place in range(COUNT)]

    def read_right(index: int, rows: Any) -> None:
        assert list(rows) == [(keys[index], value_of(stock.run, keys[index]))]

    with make_executor(session) as executor, ThreadPoolExecutor(5) as pool:

        def run(statement: Any, parameters: list[Any], check: Any, **options: Any) -> Any:
            results = executor.map(
                statement,
                crash.in_the_midst_of(parameters),
                raise_on_first_error=False,
                **options,
            )
            return results, pool.submit(Told.by, results, check)

        rows_to_read = [(stock.run, key) for key in keys]
        runs = {
            "writes": run(once.insert, [once.row(key) for key in range(COUNT)], is_empty),
            "reads": run(stock.select, rows_to_read, read_right),
            "writes with Retry": run(
                again.insert, [again.row(key) for key in range(COUNT)], is_empty, retry=PATIENT
            ),
            "reads with Retry": run(
                stock.select, rows_to_read, read_right, retry=PATIENT, assume_idempotent=True
            ),
        }
        crashed = pool.submit(
            crash.happen,
            lambda: all(
                results.statistics().started > COUNT // 3 + 50 for results, _ in runs.values()
            ),
        )
        told = {name: future.result() for name, (_, future) in runs.items()}
        crashed.result()
        after = host_id(session, node), node.pid
        assert after[0] == before[0]
        assert after[1] != before[1]

        record_property(
            "seconds from the kill until the node served again", f"{crash.seconds_down:.1f}"
        )
        for name, (results, _) in runs.items():
            record_property(name, counted(results, told[name]))

        # The death was felt: else this would show nothing.
        assert told["writes"].failed
        assert told["reads"].failed
        assert runs["writes with Retry"][0].statistics().retries
        assert runs["reads with Retry"][0].statistics().retries
        for name in ("writes", "reads"):
            for index, result in told[name].failed.items():
                assert isinstance(result.result_or_exc, FAILURES), repr(result.result_or_exc)
                assert (result.index, result.attempts) == (index, 1)
                parameters = once.row(index) if name == "writes" else rows_to_read[index]
                assert result.parameters == parameters
        assert not told["writes with Retry"].failed
        assert not told["reads with Retry"].failed

        # What failed may have been written all the same; what succeeded was.
        assert told["writes"].succeeded <= once.written(executor) <= set(range(COUNT))
        assert again.written(executor) == set(range(COUNT))


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
