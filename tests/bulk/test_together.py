"""Options that would do nothing beside others, or contradict them, are refused at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type, UTF8Type

from concurrent_exec.bulk import (
    BulkError,
    BulkRun,
    ConvertingOptions,
    ReadingOptions,
    Workers,
    open_source,
    run,
)
from concurrent_exec.bulk.arrow import MissingPackageError
from concurrent_exec.cli import main
from concurrent_exec.testing import Reply, ScriptedSession
from tests.bulk.samples import brings

RECORDS = [{"id": 1}]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which there is an ids.csv and nothing else."""
    monkeypatch.chdir(tmp_path)
    Path("ids.csv").write_text("id\n1\n")
    return tmp_path


def answering() -> ScriptedSession:
    return ScriptedSession(lambda *_: Reply(rows=[("x",)], at_once=True))


def read_of(session: ScriptedSession) -> Any:
    read = session.as_prepared(
        "SELECT v FROM t WHERE id = ?", {"id": Int32Type}, partition_key=["id"]
    )
    return brings(read, [("v", UTF8Type)])


def write_of(session: ScriptedSession) -> Any:
    return session.as_prepared(
        "INSERT INTO t (id) VALUES (?)", {"id": Int32Type}, partition_key=["id"]
    )


def a_session() -> None:
    raise AssertionError("nobody is to connect")


# ---- from Python ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "x.parquet", "guard_formulas": True}, "of CSV and TSV, and the output is par"),
        ({"output": "x.jsonl", "guard_formulas": True}, "of CSV and TSV, and the output is jsonl"),
        ({"output": "x.csv", "guard_formulas": True, "output_format": "jsonl"}, "output is jsonl"),
        ({"output": "x.csv", "output_format": "xml"}, "output_format must be one of 'csv'"),
        ({"output": "-", "output_format": "parquet"}, "can't be Parquet on standard output"),
        ({"output_format": "csv"}, "output_format is about the output"),
        ({"with_keys": True}, "with_keys is about the output"),
        ({"guard_formulas": True}, "guard_formulas is about the output"),
        ({"failed_file": "-"}, "failed_file can't be standard output"),
        ({"not_found_file": "-"}, "not_found_file can't be standard output"),
        ({"checkpoint": "-"}, "checkpoint can't be standard output"),
        ({"resume": True}, "resume needs a checkpoint"),
        ({"timeout": float("nan")}, "timeout must be a finite number of seconds above 0"),
        ({"max_per_second": float("inf")}, "max_per_second must be a finite number of statements"),
        ({"resume_anyway": True, "checkpoint": "c"}, "resume_anyway is about resuming"),
        ({"resume": True, "overwrite": True, "checkpoint": "c"}, "resume and overwrite contradict"),
        ({"resume": True, "dry_run": True, "checkpoint": "c"}, "resume and dry_run contradict"),
        ({"workers": Workers(a_session, processes=3), "concurrency": 2}, "among 3 processes"),
        ({"converting": ConvertingOptions(nulls=["NULL"])}, "nulls are words in fields of CSV"),
    ],
)
def test_options_that_do_not_go_together(
    options: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = answering()
    with pytest.raises(ValueError, match=message):
        run(session, read_of(session), RECORDS, **options)
    assert session.sent == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["output", "not_found_file"])
def test_a_write_brings_nothing_that_could_be_put_anywhere(name: Any, tmp_path: Path) -> None:
    session = answering()
    options: Any = {name: tmp_path / "rows.csv"}
    with pytest.raises(BulkError, match="brings no rows"):
        run(session, write_of(session), RECORDS, **options)
    assert session.sent == 0


@pytest.mark.parametrize(
    ("name", "data", "options", "said"),
    [
        ("x.jsonl", '{"id": 1}\n', {"delimiter": ";"}, "delimiter is of csv, tsv"),
        ("x.jsonl", '{"id": 1}\n', {"header": False}, "header is of csv, tsv"),
        ("x.arrow", "", {"quote": None}, "quote is of csv, tsv, and the input is arrow"),
        ("x.arrow", "", {"escape": "\\"}, "escape is of csv, tsv, and the input is arrow"),
        ("x.parquet", "", {"encoding": "latin-1"}, "encoding is of csv, tsv, jsonl, and the inp"),
    ],
)
def test_how_files_are_read_that_these_are_not(
    name: str, data: str, options: Any, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(data)
    with pytest.raises(ValueError, match=said):
        open_source([str(tmp_path / name)], ReadingOptions(**options))


def test_one_file_of_the_kind_is_enough(tmp_path: Path) -> None:
    """What says nothing of the others is no mistake, of which it is not known what they will be."""
    (tmp_path / "a.csv").write_text("id;v\n1;NULL\n")
    (tmp_path / "b.jsonl").write_text('{"id": 2, "v": "NULL"}\n')
    sent: list[Any] = []
    session = ScriptedSession(lambda _, values: (sent.append(values), Reply(at_once=True))[1])  # type: ignore[func-returns-value]
    columns = {"id": Int32Type, "v": UTF8Type}
    insert = session.as_prepared(
        "INSERT INTO t (id, v) VALUES (?, ?)", columns, partition_key=["id"]
    )
    paths = [str(tmp_path / name) for name in ("a.csv", "b.jsonl")]
    source = open_source(paths, ReadingOptions(delimiter=";"))
    options: Any = {"converting": ConvertingOptions(nulls=["NULL"]), "missing": "null"}
    report = run(session, insert, source, concurrency=1, **options)
    assert report.all_done
    # A string of JSON is one, whatever it says.
    assert [tuple(values) for values in sent] == [(1, None), (2, "NULL")]


def test_a_sample_is_of_what_would_be_sent(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("none\n" * 3 + '{"id": 4}\n{"id": 5}\n{"id": 6}\n')
    session = answering()

    def sample(**options: Any) -> Any:
        return BulkRun(session, write_of(session), tmp_path / "x.jsonl", **options).sample()

    assert sample().columns == {"id": [4, 5, 6]}
    assert sample(skip=4, limit=1).columns == {"id": [5]}
    assert sample(limit=3) is None


# ---- a dry run ----


def test_a_dry_run_has_the_budget_of_a_run() -> None:
    session = answering()
    records = [{"id": n if n % 10 else "x"} for n in range(10_000)]
    insert = write_of(session)
    report = run(session, insert, records, dry_run=True, max_errors="5%")
    assert report.ended == "too many errors"
    assert 100 <= report.records < 10_000
    report = run(session, insert, records, dry_run=True, max_errors="20%")
    assert (report.ended, report.records, report.rejected) == ("finished", 10_000, 1_000)
    assert session.sent == 0


def test_a_dry_run_is_stopped() -> None:
    session = answering()
    made: list[BulkRun] = []

    def records() -> Any:
        for n in range(100_000):
            if n == 5_000:
                made[0].stop()
            yield {"id": n}

    made.append(BulkRun(session, write_of(session), records(), dry_run=True))
    report = made[0].run()
    assert report.ended == "interrupted"
    assert 0 < report.records < 10_000


def test_what_writes_parquet_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when a checkpoint is there already, which says that a run has stopped."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    session = answering()
    with pytest.raises(MissingPackageError, match="an output of Parquet needs the package pyarrow"):
        BulkRun(
            session,
            read_of(session),
            RECORDS,
            output=tmp_path / "out.parquet",
            checkpoint=tmp_path / "checkpoint",
        )
    assert list(tmp_path.iterdir()) == []


# ---- the command ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint", "c", "--no-checkpoint"], "--checkpoint and --no-checkpoint"),
        (["--checkpoint", "c", "--output", "-"], "--checkpoint: standard output"),
        (["--output", "-", "--json", "-"], "--json and --output can't both"),
        (["--explain", "--dry-run"], "--explain and --dry-run: give one or the other"),
        (["--dry-run", "--latency", "x.hgrm"], "--dry-run and --latency: give one or the other"),
        (["--quiet", "--progress", "1"], "--quiet and --progress: give one or the other"),
        (["--executor", "batch", "--batch-mode", "disabled"], "--executor batch sends batches"),
        (["--format", "jsonl", "--delimiter", ";"], "delimiter is of csv, tsv"),
    ],
)
def test_options_of_the_command(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """In one line, and before anybody connects."""
    assert main(["run", "SELECT v FROM t WHERE id = :id", "ids.csv", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1), err
    assert said in err
    assert [path.name for path in here.iterdir()] == ["ids.csv"]


@pytest.mark.parametrize("arguments", [["ids.csv", "SELECT v FROM t"], ["SELECT", "v", "ids.csv"]])
@pytest.mark.usefixtures("here")
def test_a_word_is_no_statement(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file before the statement, or a statement without its quotes."""
    assert main(["run", *arguments]) == 2
    said = f"the statement comes first, in quotes, then files: {arguments[0]!r} is none"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--timeout", "--max-per-second", "--checkpoint-interval", "--progress"]
)
@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.usefixtures("here")
def test_no_finite_number(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "SELECT v FROM t WHERE id = :id", "ids.csv", option, value]) == 2
    said = f"Invalid value for '{option}': {value} is no finite number."
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "many", "0%", "1.5"])
@pytest.mark.usefixtures("here")
def test_no_error_budget(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before it connects."""
    read = "SELECT v FROM t WHERE id = :id"
    assert main(["run", read, "ids.csv", "--max-errors", value]) == 2
    said = "Invalid value for '--max-errors': must be a whole number of at least 0, or a percentage"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--latency"])
@pytest.mark.usefixtures("here")
def test_what_is_written_in_the_end_has_a_folder(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read = "SELECT v FROM t WHERE id = :id"
    assert main(["run", read, "ids.csv", option, "no-such/x.hgrm"]) == 2
    assert "error: the folder of no-such/x.hgrm is not there\n" in capsys.readouterr().err
    Path("x.hgrm").mkdir()
    assert main(["run", read, "ids.csv", option, "x.hgrm"]) == 2
    assert "'x.hgrm' is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("statement", ["", "  \n", " -- a note", "/* one */ // other"])
@pytest.mark.usefixtures("here")
def test_no_word_is_no_statement(statement: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", statement, "ids.csv", "--contact-points", "127.0.0.9:1"]) == 2
    assert capsys.readouterr().err == "concurrent-exec: error: the statement is empty\n"


@pytest.mark.usefixtures("here")
def test_what_draws_is_looked_for_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    statement = "SELECT v FROM t WHERE id = :id"
    assert main(["run", statement, "ids.csv", "--latency", "x.svg"]) == 2
    assert "x.svg needs the package matplotlib: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--format", "csv"], ["--no-header"], ["--delimiter", ";"], ["--encoding", "utf-8"]],
)
def test_a_failed_file_says_itself_how_it_is_read(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.failed.jsonl").write_text(json.dumps({"record": {"id": 1}}) + "\n")
    assert main(["run", "--retry-failed", "x.failed.jsonl", *arguments]) == 2
    assert "is about files, and a failed file says itself" in capsys.readouterr().err
