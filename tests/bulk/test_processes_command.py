"""`concurrent-exec run --processes` on the real Cassandra: whoever dies, no record is lost."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.bulk import spreading
from concurrent_exec.bulk.journal import entry_at
from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.executors.pools import LocalPool
from tests.bulk.command import running
from tests.bulk.conftest import Run
from tests.bulk.test_killed import OFTEN, Records, failed_lines
from tests.conftest import PROOF
from tests.integration.support import Rows

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800 if PROOF else 120)]

COUNT = 100_000 if PROOF else 3_000
KILLS = 20 if PROOF else 1
TWO = ("--processes", "2")


@pytest.fixture(scope="module")
def texts(session: Any, keyspace: str) -> str:
    name = f"{keyspace}.by_processes"
    session.execute(f"CREATE TABLE {name} (id text PRIMARY KEY, number int, value text)")
    return name


@pytest.fixture
def rows(session: Any, table: str) -> Rows:
    return Rows(session, table)


def test_a_process_that_is_killed(
    run: Run, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are sent again by another; rows that are read come in the order of the input."""
    monkeypatch.setattr(spreading, "FIRST", 250)
    monkeypatch.setattr(spreading, "MOST", 250 if not PROOF else 2_500)
    submit, killed = LocalPool.submit, list[int]()
    given = 0

    def submit_and_kill(pool: Any, *arguments: Any, **named: Any) -> Future[Any]:
        nonlocal given
        future: Future[Any] = submit(pool, *arguments, **named)
        given += 1
        if given % 8 == 0 and len(killed) < 2:
            (process,) = pool._processes.values()
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return future

    monkeypatch.setattr(LocalPool, "submit", submit_and_kill)
    with (tmp_path / "rows.csv").open("w") as file:
        file.write("run,key,value\n")
        file.writelines(f"{rows.run},{key},value {key}\n" for key in range(COUNT))
    insert = f"INSERT INTO {rows.table} (run, key, value) VALUES (:run, :key, :value)"
    status, _, err = run(insert, "rows.csv", *TWO, "--json", "report.json")
    assert (status, len(killed)) == (0, 2), err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["succeeded"] == COUNT
    assert 0 < report["latency_seconds"]["p50"] <= report["latency_seconds"]["max"]
    assert rows.written() == {key: f"value {key}" for key in range(COUNT)}

    killed.clear()
    select = f"SELECT value FROM {rows.table} WHERE run = :run AND key = :key"
    reading = ("--output", "out.csv", "--checkpoint", "read", "--null", "NULL")
    status, _, err = run(select, "rows.csv", *TWO, *reading)
    assert (status, len(killed)) == (0, 2), err
    with (tmp_path / "out.csv").open() as file:
        assert [row["value"] for row in csv.DictReader(file)] == [
            f"value {key}" for key in range(COUNT)
        ]


def test_the_command_is_killed_or_interrupted_and_resumed(
    session: Any, texts: str, cassandra: ConnectionOptions, tmp_path: Path
) -> None:
    """By several processes or by one: the journal is the same."""
    draw = random.Random("processes")
    records = Records(tmp_path / "records.csv", COUNT, "processes")
    insert = f"INSERT INTO {texts} (id, number, value) VALUES (:id, :number, :value)"
    slowly = ("--max-per-second", "2500", "--resume", *OFTEN)
    for kill in range(KILLS):
        with running(tmp_path, cassandra, insert, "records.csv", *TWO, *slowly) as dying:
            dying.hear(draw.randrange(COUNT * kill // KILLS, COUNT * (kill + 1) // KILLS))
            dying.kill()
    with running(tmp_path, cassandra, insert, "records.csv", *TWO, *slowly) as stopped:
        stopped.hear(1)
        stopped.process.send_signal(signal.SIGINT)
        assert stopped.wait() == 130, stopped.errors
        assert "this goes on: concurrent-exec run" in stopped.errors
        assert "Traceback" not in stopped.errors
    entry = entry_at(tmp_path / "records.csv.checkpoint")
    assert entry is not None
    assert not entry.finished
    with running(tmp_path, cassandra, insert, "records.csv", *OFTEN, "--resume") as last:
        assert last.wait() == 1, last.errors  # as some of the records have failed
    there = {
        row.id: (row.number, row.value)
        for row in session.execute(f"SELECT id, number, value FROM {texts}")
    }
    assert there == records.sound
    failed = tmp_path / "records.csv.failed.jsonl"
    assert failed_lines(failed) == sorted(records.failed.items())


def test_a_number_that_is_none_and_an_explanation(run: Run, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"run,key,value\n{rows.run},1,a\n")
    insert = f"INSERT INTO {rows.table} (run, key, value) VALUES (:run, :key, :value)"
    assert run(insert, "rows.csv", "--processes", "0")[0] == 2
    status, out, _ = run(insert, "rows.csv", *TWO, "--explain")
    assert (status, "executor" in out) == (0, True)
