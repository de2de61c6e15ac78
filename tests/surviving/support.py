"""What these proofs share: rows whose values say what they must be, and what a run told of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from concurrent_exec import ExecutionResult, Executor, Results, Retry
from concurrent_exec.connect import ConnectionOptions
from tests.conftest import PROOF

MakeExecutor = Callable[..., Executor[Any]]
Record = Callable[[str, object], None]

PATIENT = Retry(max_attempts=10, initial_backoff=0.1)
"""For what a test does before and after: a busy machine is no failure."""

RANGES = 512 if PROOF else 32
"""In how many parts a whole table is read; each is well under a page."""


def value_of(run: str, key: int) -> str:
    """Return the one right value of a row."""
    return f"the value of {key} in {run}"


class Ledger:
    """The rows of one run, among those of others in `table`, over a session of the test's."""

    def __init__(self, session: Any, table: str, run: str | None = None) -> None:
        self.session = session
        self.table = table
        self.run = run or uuid.uuid4().hex
        self.insert = session.prepare(f"INSERT INTO {table} (run, key, value) VALUES (?, ?, ?)")
        self.append = session.prepare(
            f"UPDATE {table} SET value = ?, times = times + ? WHERE run = ? AND key = ?"
        )
        """Writes a row, too, and shows how often it was applied: it is not idempotent."""
        self.select = session.prepare(f"SELECT key, value FROM {table} WHERE run = ? AND key = ?")

    @staticmethod
    def create(session: Any, table: str) -> None:
        """Make the table. Each row is a partition, so that rows lie on all nodes."""
        session.execute(
            f"CREATE TABLE {table} "
            "(run text, key int, value text, times list<int>, PRIMARY KEY ((run, key)))"
        )

    def row(self, key: int) -> tuple[str, int, str]:
        """Return the parameters of an insert."""
        return self.run, key, value_of(self.run, key)

    def appended(self, key: int) -> tuple[str, list[int], str, int]:
        """Return the parameters of an append."""
        return value_of(self.run, key), [key], self.run, key

    def fill(self, executor: Executor[Any], count: int) -> None:
        """Write the rows from key 0 on."""
        rows = [self.row(key) for key in range(count)]
        assert len(executor.map(self.insert, rows, retry=PATIENT, assume_idempotent=True).all())

    def written(self, executor: Executor[Any]) -> set[int]:
        """Return the keys that are there, each as it must be."""
        return all_written(executor, [self])[self.run]


def all_written(executor: Executor[Any], ledgers: Sequence[Ledger]) -> dict[str, set[int]]:
    """Return by run the keys that are there, each with its value and applied no more than once.

    ledgers: of one table, which is read once and as a whole, in parts by token: so a row is found
        that nobody meant to write.
    """
    session, table = ledgers[0].session, ledgers[0].table
    part = session.prepare(
        f"SELECT run, key, value, times FROM {table} "
        "WHERE token(run, key) > ? AND token(run, key) <= ?"
    )
    edges = [-(2**63) + n * 2**64 // RANGES for n in range(RANGES)] + [2**63 - 1]
    found: dict[str, set[int]] = {ledger.run: set() for ledger in ledgers}
    parts = executor.map(part, pairwise(edges), retry=PATIENT, assume_idempotent=True)
    for result in parts:
        for run, key, value, times in result.unwrap():
            if run in found:
                assert value == value_of(run, key)
                assert times in (None, [key])
                assert key not in found[run]
                found[run].add(key)
    return found


@dataclass
class Told:
    """What a run reported: of which statements success, of which failure, and which."""

    succeeded: set[int] = field(default_factory=set)
    failed: dict[int, ExecutionResult[Any]] = field(default_factory=dict)

    @classmethod
    def by(
        cls, results: Results[Any], check: Callable[[int, Any], object] = lambda index, rows: None
    ) -> Told:
        """Read a run to its end; `check` is given the index and rows of each success."""
        told = cls()
        for index, result in enumerate(results):
            if result.success:
                check(index, result.result_or_exc)
                told.succeeded.add(index)
            else:
                told.failed[index] = result
        return told

    def kinds(self) -> dict[str, int]:
        """Return how many failed with which exception."""
        counts: dict[str, int] = {}
        for result in self.failed.values():
            name = type(result.result_or_exc).__name__
            counts[name] = counts.get(name, 0) + 1
        return counts


def lines(stream: Iterable[str]) -> Iterator[list[str]]:
    """Return the words of each line; one that was cut off by a death does not count."""
    for line in stream:
        if line.endswith("\n"):
            yield line.split()


def environment_for(cassandra: ConnectionOptions | None) -> dict[str, str]:
    """Return the environment of a child process that finds our modules, and that cluster."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if cassandra is not None:
        points = ",".join(f"{host}:{cassandra.port}" for host in cassandra.contact_points)
        environment["CONCURRENT_EXEC_CONTACT_POINTS"] = points
    return environment


@contextmanager
def watched(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """End a child process with the block, or when so much time has passed: then it has hung."""
    hung = threading.Event()

    def end() -> None:
        hung.set()
        process.kill()  # which ends what the test waits for, too

    watchdog = threading.Timer(seconds, end)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        process.kill()
        assert not hung.is_set(), f"it did not end within {seconds:g} seconds"
