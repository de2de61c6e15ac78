"""The command dies at any moment, again and again; in the end every record is where it belongs."""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from concurrent_exec import CallbackExecutor, Retry
from concurrent_exec.bulk.journal import Entry, entry_at
from concurrent_exec.connect import ConnectionOptions
from tests.bulk.command import running
from tests.conftest import PROOF
from tests.surviving.support import Record

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800 if PROOF else 120)]

WRITTEN, KILLS = (100_000, 50) if PROOF else (10_000, 5)
READ, KILLS_OF_READS = (100_000, 25) if PROOF else (3_000, 2)
OFTEN = ("--checkpoint-interval", "0.02", "--progress", "0.01", "--null", "NULL")
STARTING = 1.5
"""Seconds; a process that is killed at a moment up to this one may not have begun."""


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str) -> str:
    name = f"{keyspace}.killed"
    session.execute(f"CREATE TABLE {name} (id text PRIMARY KEY, number int, value text)")
    return name


class Records:
    """A file of records, most of which are sound, and what must become of each."""

    def __init__(self, path: Path, count: int, run: str) -> None:
        self.path = path
        self.sound: dict[str, tuple[int, str]] = {}
        self.ids: list[str] = []
        """By the record's ordinal; "" for one that is not sound."""
        self.failed: dict[int, str] = {}
        """The kind of the error by the line."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "number", "value"])
            for number in range(count):
                line = number + 2
                identity = f"{run}-{number}"
                self.ids.append("")
                if number % 997 == 500:
                    writer.writerow([identity])
                    self.failed[line] = "ParseError"
                elif number % 991 == 501:
                    writer.writerow([identity, "no number", "value"])
                    self.failed[line] = "ConversionError"
                elif number % 983 == 502:
                    writer.writerow(["", number, "no key may be empty"])
                    self.failed[line] = "InvalidRequest"
                else:
                    value = f"value {number} of {run}"
                    writer.writerow([identity, number, value])
                    self.sound[identity] = (number, value)
                    self.ids[-1] = identity


def failed_lines(path: Path) -> list[tuple[int, str]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted((line["place"], line["error"]) for line in found)


def lives(
    folder: Path, cassandra: ConnectionOptions, draw: random.Random, kills: int, *arguments: object
) -> Iterator[tuple[float, bool]]:
    """Run the command again and again, killed at drawn moments, and at last to its end.

    Yields the time of each kill, and whether it had begun to work.
    """
    total = len(Path(folder, "records.csv").read_text().splitlines()) - 1
    moments = sorted(draw.randrange(total) for _ in range(kills))
    for moment in moments:
        with running(folder, cassandra, *arguments, *OFTEN, "--resume") as dying:
            if draw.random() < 0.1:
                with suppress(TimeoutExpired):
                    dying.process.wait(draw.uniform(0, STARTING))
            else:
                dying.hear(moment)
            dying.kill()
            yield time.time(), "records; " in dying.errors
    with running(folder, cassandra, *arguments, *OFTEN, "--resume") as last:
        assert last.wait() == 1, last.errors  # as some of the records have failed
        assert "Traceback" not in last.errors


def ordinals(entry: Entry | None) -> Iterator[int]:
    if entry is not None:
        yield from range(entry.done)
        for first, end in entry.beyond:
            yield from range(first, end)


@pytest.mark.parametrize("batch_mode", ["disabled", "partition_key"] if PROOF else ["disabled"])
def test_writes(
    batch_mode: str,
    session: Any,
    table: str,
    cassandra: ConnectionOptions,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """Each record is in the table or in the failed file; what the journal has is not sent again."""
    draw = random.Random(f"writes {batch_mode}")
    records = Records(tmp_path / "records.csv", WRITTEN, batch_mode)
    statement = f"INSERT INTO {table} (id, number, value) VALUES (:id, :number, :value)"
    journal, failed = tmp_path / "records.csv.checkpoint", tmp_path / "records.csv.failed.jsonl"
    done_by: dict[int, float] = {}
    at_work = 0
    for killed_at, worked in lives(
        tmp_path, cassandra, draw, KILLS, statement, "records.csv", "--batch-mode", batch_mode
    ):
        at_work += worked
        for ordinal in ordinals(entry_at(journal)):
            done_by.setdefault(ordinal, killed_at)
    rows = session.execute(f"SELECT id, number, value, writetime(value) AS time FROM {table}")
    there = {row.id: row for row in rows if row.value.endswith(batch_mode)}
    assert {row.id: (row.number, row.value) for row in there.values()} == records.sound
    assert failed_lines(failed) == sorted(records.failed.items())
    late = [
        ordinal
        for ordinal, killed_at in done_by.items()
        if records.ids[ordinal] and there[records.ids[ordinal]].time / 1e6 > killed_at
    ]
    assert late == []
    last = entry_at(journal)
    assert last is not None
    assert last.finished
    assert (last.done, last.beyond) == (WRITTEN, ())
    assert last.counts["succeeded"] == len(records.sound)
    assert last.counts["failed"] + last.counts["rejected"] == len(records.failed)
    assert at_work >= KILLS // 2
    record_property("killed at work", at_work)
    record_property("in the journal before the last life", len(done_by))


@pytest.mark.parametrize("form", ["csv", "parquet"] if PROOF else ["csv"])
def test_reads(
    form: str, session: Any, table: str, cassandra: ConnectionOptions, tmp_path: Path
) -> None:
    """The output has each row once, in the order of the input, and each key that found nothing."""
    draw = random.Random(f"reads {form}")
    records = Records(tmp_path / "records.csv", READ, f"read-{form}")
    half = {name: row for name, row in records.sound.items() if row[0] % 2}
    write(session, table, half)
    statement = f"SELECT number, value FROM {table} WHERE id = :id"
    output = tmp_path / f"rows.{form}"
    options = ("--output", output, "--with-keys", "--not-found", "nothing.jsonl")
    for _ in lives(tmp_path, cassandra, draw, KILLS_OF_READS, statement, "records.csv", *options):
        pass
    read = [(ordinal, name, half[name]) for ordinal, name in enumerate(records.ids) if name in half]
    assert rows_of(output) == [(name, number, value) for _, name, (number, value) in read]
    nothing = [json.loads(line) for line in (tmp_path / "nothing.jsonl").read_text().splitlines()]
    # The number is not read, so it may be no number.
    wanted = [line["place"] for line in nothing]
    sound = [
        number + 2
        for number, name in enumerate(records.ids)
        if name not in half and records.failed.get(number + 2) in (None, "ConversionError")
    ]
    assert wanted == sound
    assert failed_lines(tmp_path / "records.csv.failed.jsonl") == sorted(
        (line, kind) for line, kind in records.failed.items() if kind != "ConversionError"
    )


def write(session: Any, table: str, rows: dict[str, tuple[int, str]]) -> None:
    insert = session.prepare(f"INSERT INTO {table} (id, number, value) VALUES (?, ?, ?)")
    parameters = [(name, *row) for name, row in rows.items()]
    with CallbackExecutor(session) as executor:
        executor.map(insert, parameters, retry=Retry(), assume_idempotent=True).all()


def rows_of(path: Path) -> list[tuple[str, int, str]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        return [tuple(row.values()) for row in table.to_pylist()]
    with path.open(newline="") as file:
        return [(row["id"], int(row["number"]), row["value"]) for row in csv.DictReader(file)]
