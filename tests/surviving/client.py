"""A client to which something happens in mid-run; it reports each outcome as it hears of it.

    python -m tests.surviving.client callback killed TABLE RUN

It writes rows to TABLE and prints a line for each result: "ok KEY", or "failed KEY EXCEPTION".
Where it comes to its end it prints what it knows of it as JSON, after "end". How to reach the
cluster is in the environment, as for any client.

What may happen to it: "killed" and "interrupted" are for the parent to do, in a run without an
end. The others it does to itself, in a run of so many statements: "session" and "cluster" shut the
driver's down; "descriptors" cuts every connection when there is no descriptor left for another.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    TokenAwarePolicy,
)

from concurrent_exec import Executor, ProcessExecutor, Results, Retry
from concurrent_exec.connect import connect
from tests.executors import IN_ONE_PROCESS
from tests.integration.support import wait_for
from tests.surviving.support import Ledger

COUNT = 2_000
AT = 600
"""The statement at which it happens, where the client does it to itself."""
BUFFERSIZE = 200
CONCURRENCY = 20
PROCESS = "process"
"""The name of the executor whose processes this client starts."""
PROCESSES = 2


def say(*words: object) -> None:
    """Print a line at once and in one piece: whoever kills us shall have all of it or none."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def report(results: Results[Any], at: int = -1, happen: Callable[[], object] = str) -> None:
    """Tell of each result; at one of them, let it happen first."""
    for key, result in enumerate(results):
        if key == at:
            happen()
        if result.success:
            say("ok", key)
        else:
            say("failed", key, type(result.result_or_exc).__name__)


class Descriptors:
    """Takes from this process every descriptor that is not in use, and its connections."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._wanted = 0
        self._none_left = False
        self._refused = threading.Event()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._none_left and event == "socket.__new__":
            self._wanted += 1

    @property
    def wanted(self) -> int:
        """How many sockets were wanted when there was no descriptor for one."""
        return self._wanted

    def run_out(self) -> None:
        """Leave no number for a new descriptor, and none that comes free; cut every connection."""
        there = set(_open_descriptors())
        connections = [each for each in there if _is_connection(each)]
        free = next(number for number in itertools.count() if number not in there)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min([free, *connections]), self._limits[1]))
        self._none_left = True
        for each in connections:
            connection = socket.socket(fileno=each)
            connection.shutdown(socket.SHUT_RDWR)
            connection.detach()  # the driver closes it

    def come_back(self) -> None:
        """Allow as many as before."""
        self._none_left = False
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


def _open_descriptors() -> Iterator[int]:
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        yield number


def _is_connection(number: int) -> bool:
    """Whether a descriptor is that of a TCP connection."""
    try:
        name = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return False
    if not name.startswith("socket:"):
        return False
    found = socket.socket(fileno=number)
    try:
        return found.family == socket.AF_INET
    finally:
        found.detach()


def session_ends(session: Any, table: str, run: str, name: str, what: str) -> None:
    """Shut the session or the cluster down in mid-run; the run goes on to its end."""
    ledger = Ledger(session, table, run)
    ledger.insert.is_idempotent = True
    with IN_ONE_PROCESS[name](session, concurrency=CONCURRENCY) as executor:
        results = executor.map(
            ledger.insert,
            (ledger.row(key) for key in range(COUNT)),
            raise_on_first_error=False,
            buffersize=BUFFERSIZE,
            # One that asks a session that is no more, and goes on asking.
            retry=Retry(max_attempts=3, initial_backoff=0.01) if what == "cluster" else None,
        )
        report(results, AT, (session if what == "session" else session.cluster).shutdown)
    told = results.statistics()
    say("end", json.dumps({"started": told.started, "settled": told.settled}))


def descriptors_run_out(session: Any, table: str, run: str, name: str, retried: bool) -> None:
    """Be cut off without a descriptor for a new connection, and later have them again."""
    ledger = Ledger(session, table, run)
    ledger.insert.is_idempotent = True
    descriptors = Descriptors()

    back = threading.Event()

    def come_back() -> None:
        wait_for(lambda: descriptors.wanted >= 3)
        descriptors.come_back()
        back.set()

    def rows() -> Iterator[Any]:
        for key in range(COUNT):
            if key == AT:
                descriptors.run_out()
                threading.Thread(target=come_back).start()
            elif key == 2 * AT:
                back.wait()
            yield ledger.row(key)

    retry = Retry(max_attempts=20, initial_backoff=0.1, max_backoff=1.0) if retried else None
    with IN_ONE_PROCESS[name](session, concurrency=CONCURRENCY) as executor:
        results = executor.map(
            ledger.insert,
            rows(),
            raise_on_first_error=False,
            buffersize=BUFFERSIZE,
            retry=retry,
        )
        report(results)
        told = results.statistics()
        wait_for(lambda: _answers(session))
        again = executor.map(ledger.insert, [ledger.row(COUNT + n) for n in range(100)]).all()
    say(
        "end",
        json.dumps(
            {
                "started": told.started,
                "settled": told.settled,
                "sockets wanted": descriptors.wanted,
                "afterwards": sum(result.success for result in again),
            }
        ),
    )


def _answers(session: Any) -> bool:
    try:
        session.execute("SELECT key FROM system.local")
    except Exception:
        return False
    return True


def without_end(session: Any, table: str, run: str, name: str) -> None:
    """Write until something comes from outside."""
    ledger = Ledger(session, table, run)
    with executor_of(name, session) as executor:
        results = executor.map(
            ledger.insert, (ledger.row(key) for key in itertools.count()), buffersize=BUFFERSIZE
        )
        try:
            with results:
                report(results)
        finally:
            started = results.statistics().started
            wait_for(lambda: executor.statistics().in_flight == 0)  # never, if it went on
            executor.shutdown(cancel_futures=True)
            wait_for(lambda: _answers(session))  # while whatever were to be sent could be
            say("end", json.dumps({"started": started}))


def executor_of(name: str, session: Any) -> Executor[Any]:
    """Make an executor over that session, or over one in each of its own processes."""
    if name == PROCESS:
        return ProcessExecutor(connected, processes=PROCESSES, concurrency=CONCURRENCY)
    return IN_ONE_PROCESS[name](session, concurrency=CONCURRENCY)


def connected() -> AbstractContextManager[Any]:
    """Connect to the cluster that the environment names."""
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    profile = ExecutionProfile(
        TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        retry_policy=FallthroughRetryPolicy(),
        request_timeout=5.0,
    )
    return connect(
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.2, max_attempts=None),
    )


def main(name: str, what: str, table: str, run: str) -> None:
    """Be the client."""
    # Under nohup, and in the background of a shell, a child ignores it from the start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with connected() as session:
        if what in ("killed", "interrupted"):
            without_end(session, table, run, name)
        elif what in ("session", "cluster"):
            session_ends(session, table, run, name, what)
        else:
            descriptors_run_out(session, table, run, name, what == "descriptors with Retry")


if __name__ == "__main__":
    main(*sys.argv[1:])
