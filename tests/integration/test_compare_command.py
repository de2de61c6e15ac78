"""`concurrent-exec compare` on the real Cassandra."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from concurrent_exec import Comparison
from concurrent_exec.cli import main
from concurrent_exec.connect import ConnectionOptions
from tests.conftest import OWN_CLUSTER
from tests.integration.support import Rows

Run = Callable[..., tuple[int, str, str]]

RUN = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
SMALL = ("--concurrency", "5,2", "--statements", "30", "--rounds", "2")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], cassandra: ConnectionOptions) -> Run:
    """Runs `compare` with these arguments; returns exit status, stdout and stderr."""
    hosts = ",".join(f"{host}:{cassandra.port}" for host in cassandra.contact_points)
    # A cluster of the user's own is in the environment already.
    where = () if OWN_CLUSTER else ("--contact-points", hosts)

    def compare(*arguments: object) -> tuple[int, str, str]:
        status = main(["compare", *map(str, arguments), *where])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return status, told.out, told.err

    return compare


@pytest.fixture
def insert(rows: Rows) -> str:
    return f"INSERT INTO {rows.table} (run, key, value) VALUES (?, ?, ?)"


@pytest.fixture
def file(tmp_path: Path, rows: Rows) -> Path:
    """Twenty rows as CSV, in another order of columns than the statement's."""
    path = tmp_path / "rows.csv"
    lines = [f"value {key},{rows.run},{key}" for key in range(20)]
    path.write_text("\n".join(["value,run,key", *lines]) + "\n")
    return path


@pytest.mark.cluster
def test_writes_are_compared_and_done(
    run: Run, insert: str, file: Path, rows: Rows, tmp_path: Path
) -> None:
    figures, page = tmp_path / "found.json", tmp_path / "found.html"
    status, out, err = run(
        insert,
        "--parameters",
        file,
        "--assume-idempotent",
        *SMALL,
        "--json",
        figures,
        "--html",
        page,
    )
    assert (status, err) == (0, "")
    assert rows.written() == {key: f"value {key}" for key in range(20)}
    found = Comparison.from_json(figures.read_text())
    assert [(row.executor, row.concurrency) for row in found.rows] == [
        ("direct", 2),
        ("direct", 5),
        ("callback", 2),
        ("callback", 5),
        ("thread", 2),
        ("thread", 5),
    ]
    for row in found.rows:
        assert (row.statements, row.failed) == (60, 0)
        assert row.rate.low > 0
        assert row.p50_ms is not None
        assert 0 < row.p50_ms.median < 60_000
    assert out == found.to_text()
    assert found.recommendation is not None
    assert page.read_text() == found.to_html()


@pytest.mark.cluster
def test_reads_need_no_yes(run: Run, rows: Rows, tmp_path: Path) -> None:
    rows.fill(3)
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(f'["{rows.run}", {key}]\n' for key in range(3)))
    select = f"SELECT value FROM {rows.table} WHERE run = ? AND key = ?"
    status, out, err = run(
        select,
        "--parameters",
        keys,
        "--executor",
        "thread",
        "--concurrency",
        "3",
        "--statements",
        "10",
        "--rounds",
        "1",
    )
    assert (status, err) == (0, "")
    assert " ".join(out.split()).startswith(select)
    assert "executor='thread', concurrency=3" in out


@pytest.mark.cluster
def test_a_statement_without_parameters(run: Run) -> None:
    status, out, _ = run("SELECT key FROM system.local", *SMALL)
    assert status == 0
    assert "Recommended: " in out


@pytest.mark.cluster
def test_a_write_without_a_yes_is_refused(run: Run, insert: str, file: Path, rows: Rows) -> None:
    status, out, err = run(insert, "--parameters", file, *SMALL)
    assert (status, out) == (2, "")
    assert "give --assume-idempotent if that is what you want" in err
    assert rows.written() == {}


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("status", "said", "text"),
    [
        (
            1,
            "rows.csv, line 3, key: must be of type int\n",
            f"run,key,value\n{RUN},1,a\n{RUN},one,b\n",
        ),
        (1, "rows.csv: has no records\n", "run,key,value\n"),
        (1, "rows.csv: no column for the marker 'value': there are run, key\n", "run,key\n"),
        (1, "rows.csv, line 2, run: must not be missing: it is part", "run,key,value\n,1,a\n"),
        (1, "Invalid null value", f"run,key,value\n{RUN},,a\n"),  # the server's word
    ],
)
def test_a_wrong_file_writes_nothing(
    run: Run, insert: str, file: Path, rows: Rows, status: int, said: str, text: str
) -> None:
    file.write_text(text)
    found = run(insert, "--parameters", file, "--assume-idempotent", *SMALL)
    assert found[:2] == (status, "")
    assert found[2].startswith("concurrent-exec: error: ")
    assert said in found[2]
    assert rows.written() == {}


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("statement", "with_file", "status", "said"),
    [
        ("SELEKT 1", False, 1, "concurrent-exec: error: <Error from server: code=2000"),
        ("SELECT x FROM no_such.table", False, 1, "concurrent-exec: error: <Error from server"),
        ("SELECT key FROM system.local WHERE key = ?", False, 2, "parameters (key): give a file"),
        ("SELECT key FROM system.local", True, 2, "has no parameters: leave --parameters out"),
    ],
)
def test_a_wrong_statement(
    run: Run, file: Path, statement: str, with_file: bool, status: int, said: str
) -> None:
    found = run(statement, *(("--parameters", file) if with_file else ()), *SMALL)
    assert found[:2] == (status, "")
    assert said in found[2]


# ---- what is seen before there is any cluster ----


def nowhere(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    contact = ("--contact-points", "127.0.0.9:1")
    status = main(["compare", "SELECT 1", *map(str, arguments), *contact])
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    return status, told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--concurrency", "10,x"], "must be whole numbers from 1, with commas between"),
        (["--concurrency", "0"], "must be whole numbers from 1"),
        (["--concurrency", ""], "must be whole numbers from 1"),
        (["--executor", "treads"], "'treads' is not one of 'callback', 'direct', 'thread'"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
        (["--statements", "0"], "0 is not in the range x>=1"),
        (["--parameters", "no-such.csv"], "File 'no-such.csv' does not exist"),
        (["--json", "no-such/x.json"], "the folder of no-such/x.json is not there"),
        (["--html", "no-such/x.html"], "the folder of no-such/x.html is not there"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    status, err = nowhere(capsys, *arguments)
    assert status == 2
    assert said in err


def test_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    status, err = nowhere(capsys)
    assert status == 1
    assert err.startswith("concurrent-exec: error: can't connect: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("package", "options"), [("rich", []), ("matplotlib", ["--html", "x"])])
def test_a_missing_package_is_named_at_once(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    options: list[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    status, err = nowhere(capsys, *options)
    assert status == 2
    assert f"compare needs the package {package}: pip install 'concurrent-exec[cli,compare]'" in err
