"""Run statements on fake nodes, one of which fails, and see what the caller and the nodes saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cassandra import OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import (
    ConstantReconnectionPolicy,
    FallthroughRetryPolicy,
    RetryPolicy,
    RoundRobinPolicy,
)

from concurrent_exec import ExecutionResult
from concurrent_exec.connect import ConnectionOptions, connect
from tests.failing.cases import TIMEOUT, Case
from tests.failing.simulacron import PORT, FakeCluster
from tests.integration.support import MakeExecutor

COUNT = 12
PLACE = 5
"""Which statement fails."""
BETWEEN = 3
"""Of several that fail, each comes so many after the one before."""


def text(number: int) -> str:
    """Return a statement that no other has the text of, so that the nodes' log tells them apart."""
    return f"INSERT INTO shop.users (id) VALUES ({number})"


def pairs(count: int) -> list[tuple[str, None]]:
    """Return the first `count` of these statements, as `execute` takes them."""
    return [(text(number), None) for number in range(count)]


def sent(cluster: FakeCluster, count: int) -> list[int]:
    """Return how often each of them has reached the nodes."""
    received = cluster.received()
    return [received["QUERY", text(number)] for number in range(count)]


@contextmanager
def session_to(
    cluster: FakeCluster, *, timeout: float = 20, policy: RetryPolicy | None = None
) -> Iterator[Any]:
    """A session to fake nodes. By default the driver itself sends nothing again."""
    profile = ExecutionProfile(
        RoundRobinPolicy(),
        request_timeout=timeout,
        retry_policy=policy or FallthroughRetryPolicy(),
    )
    with connect(
        ConnectionOptions(contact_points=cluster.addresses, port=PORT),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        protocol_version=4,
        compression=False,  # Simulacron says that it knows some, and then does not
        reconnection_policy=ConstantReconnectionPolicy(0.05, max_attempts=None),
        schema_metadata_enabled=False,
    ) as session:
        # A connection tried while nobody answers shall not hold up for long those that come after.
        session.cluster.connect_timeout = 0.5
        yield session


@dataclass(frozen=True)
class Observed:
    """What became of a run, and of the one statement in it that was to fail as a case says."""

    case: Case
    place: int
    results: Sequence[ExecutionResult[Any]]
    sent: Sequence[int]
    """How often each statement reached the nodes."""

    @property
    def failed(self) -> ExecutionResult[Any]:
        """The result of the statement that was to fail."""
        return self.results[self.place]

    @property
    def sent_failing(self) -> int:
        """How often that statement reached the nodes."""
        return self.sent[self.place]


def observe(
    cluster: FakeCluster,
    session: Any,
    make_executor: MakeExecutor,
    cases: Sequence[Case],
    **options: Any,
) -> list[Observed]:
    """Run statements of which, one after some others, each case makes one fail.

    cases: one, or several that break no connection, and of which all or none need a timeout.
    """
    if cases[0].raises is OperationTimedOut:
        options["timeout"] = TIMEOUT
    places = [PLACE + BETWEEN * number for number in range(len(cases))]
    count = places[-1] + COUNT - PLACE
    for place, case in zip(places, cases, strict=True):
        cluster.prime(text(place), case.answer)
    # One by one where the connection breaks: what else was in flight on it would fail as well.
    with make_executor(session, concurrency=1 if cases[0].breaks else 4) as executor:
        results = executor.execute(pairs(count), raise_on_first_error=False, **options).all()
    reached = sent(cluster, count)
    return [
        Observed(case, place, results, reached) for place, case in zip(places, cases, strict=True)
    ]
