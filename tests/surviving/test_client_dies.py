"""The client dies in mid-run, or what it lives on does: nothing hangs, and what it told is true."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from concurrent_exec import CallbackExecutor
from concurrent_exec.connect import ConnectionOptions
from tests.executors import IN_ONE_PROCESS
from tests.integration.support import wait_for
from tests.surviving import client
from tests.surviving.support import Ledger, Record, environment_for, lines, watched

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds in which a client that was told to end must have done so; a hang is a failure."""
TOLD = 300
"""Outcomes that are heard before the client is killed or interrupted."""

any_name = pytest.mark.parametrize("name", [*IN_ONE_PROCESS, client.PROCESS])
any_with_a_session = pytest.mark.parametrize("name", IN_ONE_PROCESS)
"""What is done to the client's own session or connections is nothing to other processes."""


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str) -> str:
    name = f"{keyspace}.rows_of_clients"
    Ledger.create(session, name)
    return name


class Client:
    """A child process and what it has reported so far."""

    def __init__(self, process: subprocess.Popen[str], stderr: IO[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self._stderr = stderr
        self.succeeded: list[int] = []
        self.failed: dict[int, str] = {}
        self.end: dict[str, int] = {}
        self.errors = ""
        self._lines = lines(process.stdout)

    def hear(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Take in what it reports until that is `enough`, or to the end."""
        for word, *rest in self._lines:
            if word == "ok":
                self.succeeded.append(int(rest[0]))
            elif word == "failed":
                self.failed[int(rest[0])] = rest[1]
            else:
                assert word == "end"
                self.end = json.loads(" ".join(rest))
            if enough():
                return

    def wait(self) -> int:
        """Return its exit status, when it has ended by itself or been killed."""
        self.hear()
        status = self.process.wait(PATIENCE)
        self._stderr.seek(0)
        self.errors = self._stderr.read()
        return status


@contextmanager
def running(name: str, what: str, cassandra: ConnectionOptions, ledger: Ledger) -> Iterator[Client]:
    """A client; it is gone with all of its processes at the end of the block.

    It has hung if it is then still there.
    """
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", client.__name__, name, what, ledger.table, ledger.run],
            cwd=ROOT,
            env=environment_for(cassandra),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # as at a terminal: a signal of the keyboard goes to all of it
        ) as process,
        watched(process, PATIENCE),
    ):
        try:
            yield Client(process, stderr)
        finally:
            with suppress(ProcessLookupError):  # there is nobody left: as it should be
                os.killpg(process.pid, signal.SIGKILL)


def processes_of(dying: Client) -> list[int]:
    """Return the processes that live of those that the client has started, and its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == dying.process.pid and state != "Z":
                found.append(int(folder.name))
    return found


def wait_for_end_of_all(dying: Client) -> None:
    wait_for(lambda: not processes_of(dying), PATIENCE)


@pytest.fixture
def ledger(session: Any, table: str) -> Ledger:
    return Ledger(session, table, uuid.uuid4().hex)


def written(ledger: Ledger) -> set[int]:
    with CallbackExecutor(ledger.session) as executor:
        return ledger.written(executor)


def workers(name: str) -> int:
    return client.PROCESSES if name == client.PROCESS else 0


@any_name
def test_killed(
    name: str, cassandra: ConnectionOptions, ledger: Ledger, record_property: Record
) -> None:
    """It has no chance to say more: what it has said is in the table. No process is left over."""
    with running(name, "killed", cassandra, ledger) as dying:
        dying.hear(lambda: len(dying.succeeded) == TOLD)
        assert len(processes_of(dying)) >= 1 + workers(name)
        dying.process.send_signal(signal.SIGKILL)
        assert dying.wait() == -signal.SIGKILL, dying.errors
        wait_for_end_of_all(dying)
    told = len(dying.succeeded)
    there = written(ledger)
    assert dying.succeeded == list(range(told))
    assert not dying.failed
    assert set(range(told)) <= there
    # One result may have been on its way to the pipe.
    assert max(there) <= told + client.BUFFERSIZE
    record_property("reported before it was killed", told)
    record_property("written", len(there))


@any_name
def test_interrupted(
    name: str, cassandra: ConnectionOptions, ledger: Ledger, record_property: Record
) -> None:
    """Ctrl-C: it ends as an interrupted program does, and nothing is sent after."""
    with running(name, "interrupted", cassandra, ledger) as dying:
        dying.hear(lambda: len(dying.succeeded) == TOLD)
        os.killpg(dying.process.pid, signal.SIGINT)
        assert dying.wait() == -signal.SIGINT, dying.errors
        wait_for_end_of_all(dying)
    assert dying.errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in dying.errors
    assert "Exception in thread" not in dying.errors
    told = len(dying.succeeded)
    assert dying.succeeded == list(range(told))
    assert dying.end["started"] <= told + client.BUFFERSIZE + 1
    # What was in flight was waited for: all that was started is there, and nothing else.
    assert written(ledger) == set(range(dying.end["started"]))
    record_property("reported before it was interrupted", told)
    record_property("started", dying.end["started"])


@any_with_a_session
@pytest.mark.parametrize("what", ["session", "cluster"])
def test_session_shut_down(
    name: str, what: str, cassandra: ConnectionOptions, ledger: Ledger, record_property: Record
) -> None:
    """Each statement has an outcome all the same, and the process ends by itself."""
    with running(name, what, cassandra, ledger) as dying:
        assert dying.wait() == 0, dying.errors
    check_whole(dying)
    assert dying.failed
    assert len(dying.succeeded) >= client.AT
    assert set(dying.succeeded) <= written(ledger) <= set(range(client.COUNT))
    record_property("succeeded", len(dying.succeeded))
    record_property("failed", kinds(dying))


@any_with_a_session
@pytest.mark.parametrize("what", ["descriptors", "descriptors with Retry"])
def test_out_of_descriptors(
    name: str, what: str, cassandra: ConnectionOptions, ledger: Ledger, record_property: Record
) -> None:
    """Without a connection and without a descriptor for one, until there are some again."""
    with running(name, what, cassandra, ledger) as dying:
        assert dying.wait() == 0, dying.errors
    check_whole(dying)
    assert dying.end["sockets wanted"] >= 3
    assert dying.end["afterwards"] == 100
    assert bool(dying.failed) == (what == "descriptors")
    there = written(ledger)
    assert set(dying.succeeded) <= there <= set(range(client.COUNT + 100))
    assert set(range(client.COUNT, client.COUNT + 100)) <= there
    record_property("succeeded", len(dying.succeeded))
    record_property("failed", kinds(dying))
    record_property("sockets wanted in vain", dying.end["sockets wanted"])


def check_whole(dying: Client) -> None:
    """Every statement has one outcome, and it is one that the client could well bear."""
    assert dying.errors == ""
    outcomes = [*dying.succeeded, *dying.failed]
    assert sorted(outcomes) == list(range(client.COUNT))
    assert dying.end["started"] == dying.end["settled"] == client.COUNT


def kinds(dying: Client) -> dict[str, int]:
    names = list(dying.failed.values())
    return {name: names.count(name) for name in sorted(set(names))}
