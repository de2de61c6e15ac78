"""Helpers of the tests on the real Cassandra."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.connection import DefaultEndPoint, EndPointFactory
from cassandra.policies import ConstantReconnectionPolicy, WhiteListRoundRobinPolicy
from cassandra.query import BatchStatement

from concurrent_exec import ExecutionResult, Executor
from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import REQUEST_TIMEOUT
from tests.surviving.support import environment_for

MakeExecutor = Callable[..., Executor[Any]]


def ended(cassandra: ConnectionOptions, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what a Python with these arguments has put out, which ended well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env=environment_for(cassandra),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done


class Rows:
    """The rows of one test: a partition of its own in its module's table."""

    def __init__(self, session: Any, table: str) -> None:
        self.session = session
        self.table = table
        self.run = uuid.uuid4()
        self.insert = session.prepare(f"INSERT INTO {table} (run, key, value) VALUES (?, ?, ?)")
        self.select = session.prepare(f"SELECT value FROM {table} WHERE run = ? AND key = ?")
        self._all = session.prepare(f"SELECT key, value FROM {table} WHERE run = ?")

    def parameters(self, count: int) -> list[tuple[uuid.UUID, int, str]]:
        """Return the parameters of `count` inserts, with keys from 0 on."""
        return [(self.run, key, f"value {key}") for key in range(count)]

    def keys(self, count: int) -> list[tuple[uuid.UUID, int]]:
        """Return the parameters of `count` selects, with keys from 0 on."""
        return [(self.run, key) for key in range(count)]

    def written(self, session: Any = None) -> dict[int, str]:
        """Return what is in the table: values by key."""
        statement = self._all if session is None else session.prepare(self._all.query_string)
        found = (session or self.session).execute(statement, (self.run,))
        return {row.key: row.value for row in found}

    def fill(self, count: int) -> None:
        """Write `count` rows by the driver alone."""
        pending = [self.session.execute_async(self.insert, each) for each in self.parameters(count)]
        for future in pending:
            future.result()


def make_table(session: Any, keyspace: str, module: str) -> str:
    """Make the table of a module of tests, (run, key, value), and return its name."""
    name = f"{keyspace}.rows_of_{module.rpartition('.')[2]}"
    session.execute(f"CREATE TABLE {name} (run uuid, key int, value text, PRIMARY KEY (run, key))")
    return name


# ---- every form in which results can be had; each returns them in the order of the input ----

Results = list[ExecutionResult[Any]]


def _as_completed(executor: Executor[Any], pairs: Any, **options: Any) -> Results:
    found = list(executor.execute(pairs, **options).as_completed())
    assert sorted(index for index, _ in found) == list(range(len(found)))
    return [result for _, result in sorted(found, key=lambda each: each[0])]


def _submit(executor: Executor[Any], pairs: Any, **options: Any) -> Results:
    futures = [executor.submit(*pair, **options) for pair in pairs]
    return [ExecutionResult(True, future.result(60)) for future in futures]


FORMS: dict[str, Callable[..., Results]] = {
    "stream": lambda executor, pairs, **options: list(executor.execute(pairs, **options)),
    "all": lambda executor, pairs, **options: executor.execute(pairs, **options).all(),
    "future": lambda executor, pairs, **options: (
        executor.execute(pairs, **options).future().result(60)
    ),
    "as_completed": _as_completed,
    "submit": _submit,
}


def values(results: Any) -> list[Any]:
    """Return the first column of the one row of each result."""
    return [result.unwrap().one()[0] for result in results]


# ---- sessions ----


class Way(Protocol):
    """Where a way to a node begins."""

    host: str
    port: int


class _Through(EndPointFactory):  # type: ignore[misc]
    """Has the driver believe that every node is to be reached through `proxy`."""

    def __init__(self, proxy: Way) -> None:
        self._proxy = proxy

    def create(self, row: Any) -> DefaultEndPoint:
        return DefaultEndPoint(self._proxy.host, self._proxy.port)


@contextmanager
def session_through(
    proxy: Way,
    cassandra: ConnectionOptions,
    keyspace: str,
    *,
    timeout: float = REQUEST_TIMEOUT,
    **arguments: Any,
) -> Iterator[Any]:
    """A session over `proxy`, and over no other way; a statement times out after `timeout` seconds.

    arguments: go to the driver's Cluster.
    """
    profile = ExecutionProfile(WhiteListRoundRobinPolicy([proxy.host]), request_timeout=timeout)
    options = {name: getattr(cassandra, name) for name in cassandra.__dataclass_fields__}
    options |= {"contact_points": (proxy.host,), "port": proxy.port}
    with connect(
        ConnectionOptions(**options),
        keyspace=keyspace,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        endpoint_factory=_Through(proxy),
        reconnection_policy=ConstantReconnectionPolicy(0.2, max_attempts=None),
        **arguments,
    ) as session:
        yield session


class Requests:
    """What a session sends within the block, watched from outside: the driver tells."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.messages: list[Any] = []
        self.statements = 0
        """How many the messages had: a batch has several."""
        self.most_in_flight = 0
        """The most statements that were without an answer at once."""
        self._unanswered: list[Any] = []
        self._lock = threading.Lock()

    def _sent(self, future: Any) -> None:
        with self._lock:
            self.messages.append(future.message)
            self.statements += _size(future)
            # Not by callbacks: a thread that waits for an answer is woken before they are called,
            # and may have sent the next when they are.
            going = [each for each in self._unanswered if not each._event.is_set()]
            self._unanswered = [*going, future]
            in_flight = sum(map(_size, self._unanswered))
            self.most_in_flight = max(self.most_in_flight, in_flight)

    def __enter__(self) -> Requests:
        self.session.add_request_init_listener(self._sent)
        return self

    def __exit__(self, *exc: object) -> None:
        self.session.remove_request_init_listener(self._sent)


def _size(future: Any) -> int:
    return len(future.query) if isinstance(future.query, BatchStatement) else 1


# ---- waiting ----


def our_threads() -> set[threading.Thread]:
    """Return the library's threads that are alive."""
    return {each for each in threading.enumerate() if each.name.startswith("concurrent_exec")}


def wait_for_end_of_threads(before: set[threading.Thread]) -> None:
    """Return when no thread of the library is alive but those of `before`."""

    def ended() -> bool:
        if our_threads() <= before:
            return True
        gc.collect()  # a test may have left a run to a cycle of its own, such as a traceback
        return False

    wait_for(ended)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return when `condition` has come true; it fails the test if that does not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
