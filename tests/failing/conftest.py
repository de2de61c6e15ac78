"""The servers that fail on demand; all tests of a run share them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from concurrent_exec.cluster import ClusterError
from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.executors import threads
from tests.failing.simulacron import FakeCluster, Simulacron, simulacron
from tests.failing.tools import simulacron_jar, toxiproxy_program
from tests.failing.toxiproxy import Toxiproxy, Way, toxiproxy
from tests.integration.support import Rows, make_table, our_threads, wait_for_end_of_threads

_TOOLS = {"simulacron": simulacron_jar, "toxiproxy": toxiproxy_program}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the programs now, so that the time limit of the first test is not spent on it."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name, fetch in _TOOLS.items():
        if name in wanted:
            try:
                fetch(lambda line: print(f"\n{line}", flush=True))
            except ClusterError:
                pass  # the tests that need it will say so


@pytest.fixture(scope="session", name="simulacron")
def _simulacron() -> Iterator[Simulacron]:
    with simulacron() as started:
        yield started


@pytest.fixture(scope="session", name="toxiproxy")
def _toxiproxy() -> Iterator[Toxiproxy]:
    with toxiproxy() as started:
        yield started


@pytest.fixture
def cluster(simulacron: Simulacron) -> Iterator[FakeCluster]:
    """One fake node."""
    with simulacron.cluster() as made:
        yield made


@pytest.fixture
def pair(simulacron: Simulacron) -> Iterator[FakeCluster]:
    """Two fake nodes."""
    with simulacron.cluster(2) as made:
        yield made


@pytest.fixture
def way(toxiproxy: Toxiproxy, cassandra: ConnectionOptions) -> Iterator[Way]:
    """A way to the real Cassandra that fails as told."""
    with toxiproxy.way(cassandra.contact_points[0], cassandra.port) as made:
        yield made


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str, request: pytest.FixtureRequest) -> str:
    """The name of a table (run, key, value) on the real Cassandra, which is the module's own."""
    return make_table(session, keyspace, request.module.__name__)


@pytest.fixture
def rows(session: Any, table: str) -> Rows:
    """Rows of that table which are the test's own."""
    return Rows(session, table)


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does with executors, their threads end when it lets go of them."""
    monkeypatch.setattr(threads, "LINGER", 0.02)
    before: set[Any] = our_threads()
    yield
    wait_for_end_of_threads(before)
