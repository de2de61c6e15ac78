"""Settings of the whole suite, and the Cassandra that all tests of one run share."""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import dict_factory
from hypothesis import HealthCheck, Phase, settings

from concurrent_exec.cluster import ClusterError, LocalCassandra, cassandra_jars
from concurrent_exec.connect import ConnectionOptions, connect
from tests.tls import Certificate

PROOF = os.environ.get("CONCURRENT_EXEC_PROOF") == "1"
"""Whether this is `make proof`: the same tests, at full size."""

settings.register_profile(
    "test",
    max_examples=10_000 if PROOF else 300,
    derandomize=True,  # the same schedules every time: a red build is the change's doing
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
settings.load_profile("test")
settings.register_profile(
    "mutants",  # whether something fails is all that mutation testing asks, and asks it very often
    settings.get_profile("test"),
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
)

OWN_CLUSTER = bool(os.environ.get("CONCURRENT_EXEC_CONTACT_POINTS"))
"""Whether the tests run against a cluster of the user's own."""

if not PROOF:
    # The nodes of `make test` live for minutes: what they are compiled to by the second, thorough
    # compiler costs more than it brings. Without it a start takes 6 s of CPU instead of 12, and the
    # first 30,000 inserts 7 s instead of 16.
    given = os.environ.get("JAVA_TOOL_OPTIONS", "")
    os.environ["JAVA_TOOL_OPTIONS"] = f"{given} -XX:TieredStopAtLevel=1".strip()

REQUEST_TIMEOUT = 30.0
"""Seconds: a busy machine is no failure, and a hang is one after pytest's own limit."""


def pytest_configure() -> None:
    """Heed the signals that nohup, or a shell's background job, hands down as ignored.

    Several tests send them to processes of theirs, which would inherit it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Cassandra now, so that the time limit of the first test is not spent on it."""
    wanted = any(item.get_closest_marker("cluster") for item in session.items)
    if wanted and not OWN_CLUSTER and not session.config.option.collectonly:
        try:
            cassandra_jars(report=lambda line: print(f"\n{line}", flush=True))
        except ClusterError:
            pass  # the tests that need it will say so


@pytest.fixture(scope="module", autouse=True)
def _what_there_is_stays() -> None:
    """Let the collector leave alone what earlier modules have left, and what is loaded.

    To go through all of it takes half a second each time by the end, and many a test, or what it
    tests, has the collector run: the samples of the README took 57 s rather than 2.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What the servers of this run have for those who come with TLS."""
    return Certificate.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def cassandra(certificate: Certificate) -> Iterator[ConnectionOptions]:
    """How to reach the Cassandra of this run: the user's own, else one that ends with the run."""
    if OWN_CLUSTER:
        yield ConnectionOptions.from_environment()
        return
    number = os.getpid()
    address = f"127.{100 + number % 100}.{number // 100 % 250}.1"  # no other run's
    with LocalCassandra(
        port=9442, first_address=address, settings=certificate.of_cassandra()
    ) as started:
        yield ConnectionOptions(contact_points=tuple(started.contact_points), port=started.port)


@pytest.fixture(scope="session")
def keyspace(cassandra: ConnectionOptions) -> Iterator[str]:
    """A keyspace for this run, which goes with it."""
    name = f"concurrent_exec_test_{uuid.uuid4().hex[:12]}"
    with connect(cassandra) as session:
        session.execute(
            f"CREATE KEYSPACE {name} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        try:
            yield name
        finally:
            session.execute(f"DROP KEYSPACE {name}", timeout=REQUEST_TIMEOUT)


@pytest.fixture(scope="session")
def session(cassandra: ConnectionOptions, keyspace: str) -> Iterator[Any]:
    """A driver's session in that keyspace. It has a profile "dicts", whose rows are dicts."""

    def profile(**options: Any) -> Any:
        policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=cassandra.local_dc or ""))
        return ExecutionProfile(policy, request_timeout=REQUEST_TIMEOUT, **options)

    profiles = {
        EXEC_PROFILE_DEFAULT: profile(),
        "dicts": profile(row_factory=dict_factory),
    }
    with connect(cassandra, keyspace=keyspace, execution_profiles=profiles) as connected:
        yield connected
