"""What the tests on the real Cassandra share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.drivers.direct.known import driver_name
from concurrent_exec.executors import threads
from tests.integration.proxy import Proxy
from tests.integration.support import Rows, make_table, our_threads, wait_for_end_of_threads

collect_ignore = [] if driver_name() == "scylla-driver" else ["test_shards.py"]
if find_spec("cassandra.io.libevwrapper") is None:  # the oldest drivers come without it
    collect_ignore += ["test_coalescing.py", "test_shards.py"]


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does with executors, their threads end when it lets go of them."""
    monkeypatch.setattr(threads, "LINGER", 0.02)
    before = our_threads()
    yield
    wait_for_end_of_threads(before)


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str, request: pytest.FixtureRequest) -> str:
    """The name of a table (run, key, value), which is the module's own."""
    return make_table(session, keyspace, request.module.__name__)


@pytest.fixture
def rows(session: Any, table: str) -> Rows:
    """Rows of that table which are the test's own."""
    return Rows(session, table)


@pytest.fixture
def proxy(cassandra: ConnectionOptions) -> Iterator[Proxy]:
    """A way to the first contact point that can be held up and cut."""
    with Proxy(cassandra.contact_points[0], cassandra.port) as started:
        yield started
