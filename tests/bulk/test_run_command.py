"""`concurrent-exec run` on the real Cassandra: what it does, and what it says of what it can't."""

from __future__ import annotations

import csv
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.bulk.journal import entry_at
from concurrent_exec.connect import ConnectionOptions
from tests.bulk.command import COMMAND, running
from tests.bulk.conftest import Run
from tests.integration.support import Rows
from tests.surviving.support import environment_for

pytestmark = pytest.mark.cluster

COUNT = 300


@pytest.fixture
def rows(session: Any, table: str) -> Rows:
    """Rows of that table which are the test's own."""
    return Rows(session, table)


@pytest.fixture
def insert(table: str) -> str:
    return f"INSERT INTO {table} (run, key, value) VALUES (:run, :key, :value)"


@pytest.fixture
def select(table: str) -> str:
    return f"SELECT value FROM {table} WHERE run = :run AND key = :key"


@pytest.fixture
def file(tmp_path: Path, rows: Rows) -> Path:
    """Rows as CSV, in another order of columns than the statement's."""
    path = tmp_path / "rows.csv"
    lines = [f"value {key},{rows.run},{key}" for key in range(COUNT)]
    path.write_text("\n".join(["value,run,key", *lines]) + "\n")
    return path


def spoil(file: Path) -> None:
    """Let three records be none: a ragged one, a key that is no number, and no key at all."""
    lines = file.read_text().splitlines()
    lines[10] = "ragged"
    lines[20] = lines[20] + "x"
    lines[30] = lines[30].rpartition(",")[0] + ","
    file.write_text("\n".join(lines) + "\n")


SPOILT = {9, 19, 29}
"""Their keys."""


def failed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ---- writes ----


def test_all_is_written_and_said(run: Run, insert: str, file: Path, rows: Rows) -> None:
    status, out, err = run(insert, "rows.csv", "--json", "report.json")
    assert (status, out) == (0, "")
    assert err.startswith("300 records: 300 done; in ")
    assert len(err.splitlines()) == 1
    assert rows.written() == {key: f"value {key}" for key in range(COUNT)}
    report = json.loads(Path("report.json").read_text())
    assert (report["ended"], report["succeeded"], report["records"]) == ("finished", COUNT, COUNT)
    assert 0 < report["latency_seconds"]["p50"] <= report["latency_seconds"]["p999"]
    assert not Path("rows.csv.failed.jsonl").exists()


def test_records_that_fail_are_kept_and_taken_again(
    run: Run, insert: str, file: Path, rows: Rows
) -> None:
    spoil(file)
    status, _, err = run(insert, "rows.csv")
    assert status == 1
    assert "297 done, 3 could not be read" in err
    kept = failed(Path("rows.csv.failed.jsonl"))
    assert [(each["place"], each["error"]) for each in kept] == [
        (11, "ParseError"),
        (21, "ConversionError"),
        (31, "ConversionError"),
    ]
    assert kept[1]["record"] == {"value": "value 19", "run": str(rows.run), "key": "19x"}
    assert set(rows.written()) == set(range(COUNT)) - SPOILT

    # Two of them are mended by hand; the statement is known.
    kept[0]["record"] = {"value": "value 9", "run": str(rows.run), "key": "9"}
    kept[1]["record"]["key"] = 19
    Path("rows.csv.failed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in kept))
    status, _, err = run("--retry-failed", "rows.csv.failed.jsonl")
    assert status == 1
    assert "2 done, 1 could not be read" in err
    assert [each["place"] for each in failed(Path("rows.csv.failed.2.jsonl"))] == [31]
    assert set(rows.written()) == set(range(COUNT)) - {29}


def test_a_statement_that_failed_says_how(
    run: Run, insert: str, rows: Rows, tmp_path: Path
) -> None:
    """The time to live of one of them is more than the server bears."""
    lines = [f"value {key},{rows.run},{key},{9 * 10**8 if key == 3 else 3600}" for key in range(9)]
    (tmp_path / "living.csv").write_text("\n".join(["value,run,key,ttl", *lines]) + "\n")
    status, _, err = run(f"{insert} USING TTL :ttl", "living.csv")
    assert status == 1
    assert "8 done, 1 failed" in err
    assert "living.csv, line 5: InvalidRequest\n" in err
    (kept,) = failed(Path("living.csv.failed.jsonl"))
    assert (kept["source"], kept["place"], kept["attempts"]) == ("living.csv", 5, 1)
    assert "ttl is too large" in kept["message"]
    assert kept["record"]["key"] == "3"
    kept["record"]["ttl"] = "60"
    Path("living.csv.failed.jsonl").write_text(json.dumps(kept) + "\n")
    status, _, err = run("--retry-failed", "living.csv.failed.jsonl")
    assert status == 0
    assert err.startswith("1 record: 1 done; in ")
    assert set(rows.written()) == set(range(9))
    assert not Path("living.csv.failed.2.jsonl").exists()


def test_a_part_only(run: Run, insert: str, file: Path, rows: Rows) -> None:
    assert run(insert, "rows.csv", "--skip", "10", "--limit", "20")[0] == 0
    assert set(rows.written()) == set(range(10, 30))


def test_a_column_of_another_name(run: Run, insert: str, file: Path, rows: Rows) -> None:
    file.write_text(file.read_text().replace("value,run,key", "text,run,key"))
    status, _, err = run(insert, "rows.csv")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "value" in err
    assert run(insert, "rows.csv", "--map", "text=value")[0] == 0
    assert len(rows.written()) == COUNT


def test_a_dry_run_sends_and_writes_nothing(
    run: Run, insert: str, file: Path, rows: Rows, tmp_path: Path
) -> None:
    spoil(file)
    status, _, err = run(insert, "rows.csv", "--dry-run")
    assert status == 1
    assert "297 would be sent, 3 could not be read" in err
    assert rows.written() == {}
    status, _, err = run(insert, "rows.csv", "--dry-run", "--max-errors", "0")
    assert status == 3
    assert "stopped, as too many have failed; nothing was sent" in err
    assert rows.written() == {}
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_failed_records_are_read_in_another_way(
    run: Run, insert: str, rows: Rows, tmp_path: Path
) -> None:
    """What is given counts, and for the rest what the earlier run was given."""
    lines = [f"{rows.run};1;NULL", f"{rows.run};none;a", f"{rows.run};NULL;b"]
    (tmp_path / "rows.csv").write_text("\n".join(["run;number;value", *lines]) + "\n")
    reading = ("--delimiter", ";", "--map", "number=key", "--null", "NULL")
    assert run(insert, "rows.csv", *reading, "--missing", "null")[0] == 1
    kept = [each["place"] for each in failed(Path("rows.csv.failed.jsonl"))]
    assert kept == [3, 4]
    again = [
        each | {"record": each["record"] | {"number": "2"}}
        for each in failed(Path("rows.csv.failed.jsonl"))
    ]
    Path("rows.csv.failed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in again))
    assert run("--retry-failed", "rows.csv.failed.jsonl", "--limit", "1", "--null", "a")[0] == 0
    assert rows.written() == {1: None, 2: None}


def test_explaining(run: Run, insert: str, file: Path, rows: Rows) -> None:
    status, out, err = run(insert, "rows.csv", "--explain")
    assert (status, err) == (0, "")
    assert insert in out
    assert "executor     direct" in out
    assert "'value 0' -> 'value 0'" in out
    assert f"'{rows.run}' -> UUID('{rows.run}')" in out
    assert "'value 7' -> 'value 7'" in run(insert, "rows.csv", "--explain", "--skip", "7")[1]
    assert "no records" in run(insert, "rows.csv", "--explain", "--limit", "0")[1]
    assert rows.written() == {}


def test_conditional_writes(run: Run, insert: str, file: Path, rows: Rows) -> None:
    assert run(insert, "rows.csv", "--limit", "5")[0] == 0
    changed = insert.replace(":value)", "'other') IF NOT EXISTS")
    status, _, err = run(changed, "rows.csv", "--limit", "9", "--overwrite")
    assert status == 0
    assert "9 done, 5 not applied, as their condition was not met; in " in err
    assert len(err.splitlines()) == 1
    assert rows.written() == {key: f"value {key}" if key < 5 else "other" for key in range(9)}


@pytest.mark.parametrize("mode", ["partition_key", "replica_set"])
def test_batches(run: Run, insert: str, file: Path, rows: Rows, mode: str) -> None:
    assert run(insert, "rows.csv", "--batch-mode", mode)[0] == 0
    assert len(rows.written()) == COUNT


def test_from_standard_input(
    run: Run, insert: str, file: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file.open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        assert run(insert, "-")[0] == 0
    assert len(rows.written()) == COUNT
    assert Path("stdin.checkpoint").exists()


# ---- reads ----


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_come_in_the_order_of_the_input(
    run: Run, insert: str, select: str, file: Path, rows: Rows, form: str
) -> None:
    run(insert, "rows.csv", "--limit", COUNT - 2)
    status, _, err = run(
        select,
        "rows.csv",
        *("--output", f"out.{form}", "--with-keys", "--not-found", "none.jsonl"),
        *("--checkpoint", "read.checkpoint"),
    )
    assert status == 0
    assert "300 done, 2 found nothing" in err
    assert "298 rows in out." in err
    assert table_of(Path(f"out.{form}")) == [
        {"run": str(rows.run), "key": str(key), "value": f"value {key}"} for key in range(COUNT - 2)
    ]
    assert [each["place"] for each in failed(Path("none.jsonl"))] == [COUNT, COUNT + 1]
    assert sorted(os.listdir()) == sorted(
        [f"out.{form}", "none.jsonl", "read.checkpoint", "rows.csv", "rows.csv.checkpoint"]
    )


def table_of(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        found = pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        found = failed(path)
    else:
        with path.open(newline="") as file:
            found = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    return [{name: str(value) for name, value in row.items()} for row in found]


def test_rows_on_standard_output(run: Run, insert: str, select: str, file: Path) -> None:
    run(insert, "rows.csv")
    status, out, err = run(select, "rows.csv", "--output", "-", "--overwrite")
    assert status == 0
    assert out.splitlines() == ["value", *(f"value {key}" for key in range(COUNT))]
    assert "300 rows in standard output" in err


def test_a_reader_that_goes_away(
    cassandra: ConnectionOptions, run: Run, insert: str, select: str, file: Path, tmp_path: Path
) -> None:
    run(insert, "rows.csv")
    read, write = os.pipe()
    os.close(read)
    with running(
        tmp_path, cassandra, select, "rows.csv", "--output", "-", "--overwrite", stdout=write
    ) as piping:
        os.close(write)
        assert piping.wait() == 1
    assert piping.errors == (
        "concurrent-exec: error: whoever was reading standard output has gone\n"
    )


# ---- what there is to look at ----


def test_a_live_display(
    cassandra: ConnectionOptions, insert: str, file: Path, tmp_path: Path
) -> None:
    """On a terminal, which is left as it was."""
    ours, theirs = pty.openpty()
    environment = environment_for(cassandra) | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [*COMMAND, insert, "rows.csv", "--max-per-second", "300"],
        cwd=tmp_path,
        env=environment,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert process.wait() == 0
    os.close(ours)
    for words in ("of 100 in flight", "/s now", "p50", "p999", " left", "300 records: 300 done"):
        assert words in seen, seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # so a terminal ends on Linux
        return b""


def test_how_long_statements_took(run: Run, insert: str, file: Path) -> None:
    status, _, _ = run(insert, "rows.csv", "--latency", "all.hgrm", "--latency", "all.svg")
    assert status == 0
    assert "TotalCount     =      300" in Path("all.hgrm").read_text()
    assert "<svg" in Path("all.svg").read_text()
    refused(run(insert, "rows.csv", "--latency", "all.pdf"), 2, "all.pdf")


def test_without_what_measures(
    run: Run, insert: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    refused(run(insert, "rows.csv", "--latency", "all.hgrm"), 2, "concurrent-exec[histogram]")
    assert run(insert, "rows.csv", "--json", "report.json")[0] == 0
    assert "latency_seconds" not in json.loads(Path("report.json").read_text())


# ---- stopping and going on ----


def test_interrupted_once(
    cassandra: ConnectionOptions, run: Run, insert: str, file: Path, rows: Rows, tmp_path: Path
) -> None:
    """It finishes what is in flight, says how to go on, and what it has noted is what is there."""
    slowly = (insert, "rows.csv", "--max-per-second", "100", "--progress", "0.01")
    with running(tmp_path, cassandra, *slowly) as stopping:
        stopping.hear(50)
        stopping.process.send_signal(signal.SIGINT)
        assert stopping.wait() == 130, stopping.errors
    assert "stopping: what is in flight is finished" in stopping.errors
    assert "--max-per-second 100 --progress 0.01 --resume" in stopping.errors
    entry = entry_at(tmp_path / "rows.csv.checkpoint")
    assert entry is not None
    there = set(rows.written())
    assert {*range(entry.done)} | {n for a, b in entry.beyond for n in range(a, b)} == there
    assert 50 <= len(there) < COUNT
    status, _, err = run(insert, "rows.csv", "--resume")
    assert status == 0
    assert "300 records: 300 done" in err
    assert len(rows.written()) == COUNT


def test_interrupted_twice() -> None:
    script = (
        "import threading\n"
        "from concurrent_exec.cli.interrupts import stopped_by_signals\n"
        "with stopped_by_signals(lambda: None):\n"
        "    print('ready', flush=True)\n"
        "    while True: threading.Event().wait(1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith("stopping")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_an_error_budget(run: Run, insert: str, file: Path, rows: Rows) -> None:
    spoil(file)
    status, _, err = run(insert, "rows.csv", "--max-errors", "2", "--concurrency", "1")
    assert status == 3
    assert "stopped, as too many have failed; this goes on: " in err
    # The three are counted, but not against the budget again.
    status, _, err = run(insert, "rows.csv", "--max-errors", "2", "--resume")
    assert status == 1
    assert "297 done, 3 could not be read" in err
    assert len(failed(Path("rows.csv.failed.jsonl"))) == 3
    assert len(rows.written()) == 297


def test_what_has_changed_is_not_resumed(run: Run, insert: str, file: Path) -> None:
    spoil(file)
    assert run(insert, "rows.csv", "--max-errors", "0")[0] == 3
    for changed, words in (
        ((insert.replace(":value)", "'other')"), "rows.csv"), "the statement was"),
        ((insert, "rows.csv", "--missing", "null"), "missing was"),
        ((insert, "rows.csv", "--map", "value=value"), "the mapping of columns"),
    ):
        status, _, err = run(*changed, "--resume")
        assert (status, len(err.splitlines())) == (2, 1), err
        assert words in err
    file.write_text(file.read_text() + "more,more,more\n")
    status, _, err = run(insert, "rows.csv", "--resume")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "the input" in err


def test_an_earlier_run_is_not_overwritten(run: Run, insert: str, file: Path) -> None:
    spoil(file)
    run(insert, "rows.csv", "--max-errors", "0")
    status, _, err = run(insert, "rows.csv")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "--resume" in err
    assert "--overwrite" in err
    assert run(insert, "rows.csv", "--resume")[0] == 1
    status, _, err = run(insert, "rows.csv")
    assert status == 2
    assert "rows.csv.failed.jsonl" in err
    assert run(insert, "rows.csv", "--overwrite")[0] == 1


def test_what_is_not_idempotent_asks_for_a_yes(
    run: Run, session: Any, keyspace: str, tmp_path: Path
) -> None:
    name = f"{keyspace}.counted_{uuid.uuid4().hex[:8]}"
    session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, n counter)")
    update = f"UPDATE {name} SET n = n + 1 WHERE id = :id"
    lines = [*map(str, range(50)), "x", *map(str, range(50, 100))]
    (tmp_path / "ids.csv").write_text("\n".join(["id", *lines]) + "\n")
    assert run(update, "ids.csv", "--max-errors", "0", "--concurrency", "1")[0] == 3
    status, _, err = run(update, "ids.csv", "--resume")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "--yes" in err
    assert run(update, "ids.csv", "--resume", "--yes")[0] == 1
    found = session.execute(f"SELECT id, n FROM {name}")
    assert {row.id: row.n for row in found} == dict.fromkeys(range(100), 1)


# ---- what can't be done: one line, the right exit status, nothing lost ----


def refused(told: tuple[int, str, str], status: int, *words: str) -> None:
    assert told[0] == status, told
    assert told[1] == ""
    assert len(told[2].splitlines()) == 1, told[2]
    for word in words:
        assert word in told[2]


def test_no_records(run: Run, insert: str, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("run,key,value\n")
    refused(run(insert, "empty.csv"), 2, "empty.csv")
    refused(run(insert, "header.csv"), 0, "0 records")


def test_inputs_that_are_none(run: Run, insert: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("rum,key,value\na,b,c\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "unknown.dat").write_bytes(b"\x00\x01")
    refused(run(insert, "wrong.csv"), 2, "'run'", "'rum'")
    refused(run(insert, "missing.csv"), 2, "missing.csv")
    refused(run(insert, "folder.csv"), 2, "folder.csv")
    refused(run(insert), 2, "a file with its parameters")
    refused(run(), 2, "give a statement")
    refused(run("--retry-failed", "missing.failed.jsonl"), 2, "missing.failed.jsonl")


def test_statements_that_are_none(run: Run, insert: str, table: str, file: Path) -> None:
    refused(run(f"SELECT * FROM {table}", "rows.csv"), 2, "no markers")
    refused(run(f"{insert} IF NOT EXISTS AND run = :other", "rows.csv"), 1)
    refused(run(insert.replace(":value", ":worth"), "rows.csv"), 2, "worth")
    refused(run("INSERT INTO no.where (id) VALUES (:key)", "rows.csv"), 1, "no")
    refused(run("INSERT INTO rows (key) VALUES (:key)", "rows.csv"), 1, "keyspace")
    refused(run(f"{insert}; {insert}", "rows.csv"), 1)
    refused(run(insert, "rows.csv", "--keyspace", "nowhere"), 1, "nowhere", "such a keyspace?\n")
    refused(run(insert, "rows.csv", "--output", "out.csv"), 2, "no rows")
    refused(run(insert, "rows.csv", "--not-found", "none.jsonl"), 2, "no rows")


def test_no_host(run: Run, insert: str, file: Path) -> None:
    refused(run(insert, "rows.csv", "--contact-points", "127.99.99.99:1"), 1, "127.99.99.99")


def test_no_such_data_center(run: Run, insert: str, file: Path, session: Any) -> None:
    there = {host.datacenter for host in session.cluster.metadata.all_hosts()}
    refused(run(insert, "rows.csv", "--local-dc", "nowhere"), 1, "not 'nowhere'", *there)


def test_options_that_are_wrong(run: Run, insert: str, select: str, file: Path) -> None:
    refused(run(insert, "rows.csv", "--time-zone", "Nowhere/Land"), 2, "Nowhere/Land")
    refused(run(insert, "rows.csv", "--no-checkpoint", "--resume"), 2, "checkpoint")
    refused(run(insert, "rows.csv", "--processes", "3", "--concurrency", "2"), 2, "3 processes")
    guarded = ("--output", "out.parquet", "--guard-formulas")
    refused(run(select, "rows.csv", *guarded), 2, "guard_formulas is of CSV and TSV")
    assert not Path("out.parquet").exists()
    for arguments in (("--concurrency", "0"), ("--map", "key"), ("--executr", "auto")):
        status, _, err = run(insert, "rows.csv", *arguments)
        assert status == 2
        assert arguments[0] in err
    assert "--executor" in run(insert, "rows.csv", "--executr", "auto")[2]


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full, whichever it is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up(run: Run, insert: str, file: Path, rows: Rows) -> None:
    header, *lines = file.read_text().splitlines()
    spoilt = [f"{line}x" if number % 3 else line for number, line in enumerate(lines)]
    file.write_text("\n".join([header, *spoilt]) + "\n")
    for size, culprit in ((512, "rows.csv.checkpoint"), (8192, "rows.csv.failed.jsonl")):
        with no_file_beyond(size):
            status, _, err = run(insert, "rows.csv", "--resume")
        assert status == 1
        assert err == f"concurrent-exec: error: {culprit}: File too large\n"
    status, _, err = run(insert, "rows.csv", "--resume")
    assert status == 1
    assert "100 done, 200 could not be read" in err
    assert set(rows.written()) == {key for key in range(COUNT) if key % 3 == 0}
    assert len(failed(Path("rows.csv.failed.jsonl"))) == 200


def test_an_output_that_fills_up(run: Run, insert: str, select: str, file: Path) -> None:
    assert run(insert, "rows.csv")[0] == 0
    reading = (select, "rows.csv", "--output", "out.csv", "--checkpoint", "read", "--resume")
    with no_file_beyond(2048):
        status, _, err = run(*reading)
    assert (status, err) == (1, "concurrent-exec: error: out.csv: File too large\n")
    assert run(*reading)[0] == 0
    found = [row["value"] for row in table_of(Path("out.csv"))]
    assert found == [f"value {key}" for key in range(COUNT)]


def test_a_device_that_is_full(run: Run, insert: str, select: str, file: Path) -> None:
    run(insert, "rows.csv")
    status, _, err = run(
        select, "rows.csv", "--output", "/dev/full", "--output-format", "csv", "--overwrite"
    )
    assert (status, err) == (1, "concurrent-exec: error: /dev/full: No space left on device\n")
