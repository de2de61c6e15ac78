"""`concurrent-exec run` on a session that does what a script says, in this process."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import click
import pytest
from cassandra import InvalidRequest
from cassandra.cqltypes import Int32Type, UTF8Type
from cassandra.query import UNSET_VALUE

from concurrent_exec import Executor
from concurrent_exec.bulk import BulkRun
from concurrent_exec.cli import main, run
from concurrent_exec.cli.display import Looker, shown_on_terminal
from concurrent_exec.testing import Reply, ScriptedSession
from tests.bulk.samples import brings
from tests.bulk.test_display import written_to

COUNT = 50
WRITE = "INSERT INTO t (id, v) VALUES (:id, :v)"
READ = "SELECT v FROM t WHERE id = :id"
Command = Callable[..., tuple[int, str, str]]


class Node:
    """What answers, and what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.meanwhile: Callable[[int], Reply | None] = lambda key: None
        self.session = ScriptedSession(self._answer)
        columns = {"id": Int32Type, "v": UTF8Type}
        write = self.session.as_prepared(WRITE, columns, partition_key=["id"])
        read = self.session.as_prepared(READ, {"id": Int32Type}, partition_key=["id"])
        self.statements = {WRITE: write, READ: brings(read, [("v", UTF8Type)])}

    def _answer(self, statement: Any, parameters: Any) -> Reply:
        self.sent.append(tuple(parameters))
        rows = [("x",)] if statement is self.statements[READ] else None
        return self.meanwhile(parameters[0]) or Reply(rows=rows, at_once=True)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Node:
    monkeypatch.chdir(tmp_path)
    lines = [f"{n},value {n}" for n in range(COUNT)]
    Path("rows.csv").write_text("\n".join(["id,v", *lines]) + "\n")
    node = Node()

    @contextmanager
    def connect(options: Any, keyspace: str | None) -> Iterator[Any]:
        yield node.session

    monkeypatch.setattr(run, "connect_joined", connect)
    monkeypatch.setattr(node.session, "prepare", node.statements.__getitem__)
    return node


@pytest.fixture
def command(node: Node, capfd: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        status = main(["run", *arguments])
        return status, *capfd.readouterr()

    return command


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[int], None]]:
    """Makes what interrupts at a key, which has no answer before that was heeded."""
    shutdown, heeded = Executor.shutdown, Event()

    def noting(self: Any, wait: bool = True, **named: Any) -> None:
        shutdown(self, False, **named)
        heeded.set()
        shutdown(self, wait, **named)

    def at(key: int) -> Callable[[int], None]:
        def meanwhile(sent: int) -> None:
            if sent == key:
                os.kill(os.getpid(), signal.SIGINT)
                assert heeded.wait(60)

        return meanwhile

    monkeypatch.setattr(Executor, "shutdown", noting)
    return at


def test_a_run_that_keeps_no_journal_and_is_interrupted(
    node: Node, command: Command, interrupted_at: Any
) -> None:
    node.meanwhile = interrupted_at(3)
    status, _, err = command(WRITE, "rows.csv", "--no-checkpoint", "--concurrency", "1")
    assert status == 130
    assert err.splitlines()[-1] == "interrupted; without a checkpoint it can't be resumed"
    assert not Path("rows.csv.checkpoint").exists()


def test_a_run_that_began_anew_goes_on_as_it_is_told(
    node: Node, command: Command, interrupted_at: Any
) -> None:
    node.meanwhile = interrupted_at(3)
    status, _, err = command(WRITE, "rows.csv", "--overwrite", "--concurrency", "1")
    assert status == 130
    told = shlex.split(err.splitlines()[-1].removeprefix("interrupted; this goes on: "))
    assert told[:2] == ["concurrent-exec", "run"]
    assert command(*told[2:])[0] == 0
    assert {key for key, _ in node.sent} == set(range(COUNT))


def test_a_dry_run_that_is_interrupted(
    node: Node, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = BulkRun._chunks

    def interrupted(made: BulkRun, start: int) -> Any:
        for chunk in chunks(made, start):
            os.kill(os.getpid(), signal.SIGINT)
            yield chunk

    monkeypatch.setattr(BulkRun, "_chunks", interrupted)
    status, _, err = command(WRITE, "rows.csv", "--dry-run")
    assert (status, node.sent) == (130, [])
    assert err.splitlines()[-1] == "interrupted; nothing was sent"


@pytest.mark.parametrize("answer", [True, False])
def test_somebody_at_a_terminal_is_asked(
    node: Node,
    command: Command,
    interrupted_at: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: bool,
) -> None:
    """Whether to send again what may have been applied, where that may do harm."""
    once = (WRITE, "rows.csv", "--not-idempotent", "--concurrency", "1")
    node.meanwhile = interrupted_at(3)
    assert command(*once)[0] == 130
    node.meanwhile = lambda key: None
    asked: list[str] = []

    def confirm(question: str, **options: Any) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", confirm)
    before = len(node.sent)
    status, _, err = command(*once, "--resume")
    assert len(asked) == 1
    if answer:
        assert status == 0
        assert {key for key, _ in node.sent} == set(range(COUNT))
    else:
        assert (status, len(node.sent)) == (2, before)
        assert "--yes" in err


def test_quietly(node: Node, command: Command) -> None:
    assert command(WRITE, "rows.csv", "--quiet") == (0, "", "")
    node.meanwhile = lambda key: Reply(error=InvalidRequest("no"), at_once=True)
    assert command(WRITE, "rows.csv", "--quiet", "--overwrite") == (1, "", "")


def test_rows_that_nobody_keeps(node: Node, command: Command) -> None:
    status, out, err = command(READ, "rows.csv", "--json", "-")
    assert (status, json.loads(out)["rows"]) == (0, COUNT)
    assert "50 rows, which are kept nowhere: give an --output" in err


def test_values_of_failed_records_are_missing_as_they_are_told(
    node: Node, command: Command
) -> None:
    """And where nothing is told, as they were for the earlier run."""
    Path("rows.csv").write_text("id,v\n1,\nx,\n")
    assert command(WRITE, "rows.csv", "--missing", "null")[0] == 1
    failed = Path("rows.csv.failed.jsonl")
    failed.write_text(failed.read_text().replace('"x"', '"2"'))
    assert command("--retry-failed", str(failed), "--no-checkpoint")[0] == 0
    assert node.sent == [(1, None), (2, None)]
    assert command("--retry-failed", str(failed), "--missing", "unset")[0] == 0
    assert node.sent[2] == (2, UNSET_VALUE)


def test_what_is_needed_for_dask(
    node: Node, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, err = command(WRITE, "rows.csv", "--dask", "127.0.0.1:8786")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "concurrent-exec[dask]" in err


def test_nothing_is_shown_of_what_has_not_begun(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    looker = Looker(BulkRun(node.session, node.statements[WRITE], "rows.csv"))
    assert looker.look() is None
    with shown_on_terminal(looker):
        pass


@pytest.mark.parametrize(
    ("make", "total", "knows_share"),
    [
        (lambda: "rows.csv", None, True),
        (lambda: [{"id": n, "v": ""} for n in range(COUNT)], COUNT, True),
        (lambda: ({"id": n, "v": ""} for n in range(COUNT)), None, False),
    ],
    ids=["file", "list", "generator"],
)
def test_what_is_shown_of_a_run(
    node: Node, make: Any, total: int | None, knows_share: bool
) -> None:
    seen: list[Any] = []

    def look(key: int) -> None:
        if key == 10:
            seen.append(looker.look())

    node.meanwhile = look
    made = BulkRun(node.session, node.statements[WRITE], make(), concurrency=1)
    looker = Looker(made)
    assert made.run().succeeded == COUNT
    [state] = seen
    assert state.settled <= 10
    assert (state.total, state.share is not None) == (total, knows_share)
    assert (state.seconds_left is not None) <= knows_share
    assert state.at_work.endswith(" of 1 in flight")


def test_intervals_that_never_end(node: Node, command: Command) -> None:
    never = ("--progress", "1e300", "--checkpoint-interval", "1e300")
    status, _, err = command(WRITE, "rows.csv", *never)
    assert (status, len(err.splitlines())) == (0, 1)


@pytest.mark.parametrize("option", ["--json", "--latency"])
def test_a_report_that_can_not_be_written(node: Node, command: Command, option: str) -> None:
    """What became of the records is said all the same, and what it was that failed."""
    Path("full.hgrm").symlink_to("/dev/full")
    status, _, err = command(WRITE, "rows.csv", option, "full.hgrm")
    said, error = err.splitlines()
    assert (status, said[:22]) == (1, "50 records: 50 done; i")
    assert error == "concurrent-exec: error: full.hgrm: No space left on device"


def test_what_a_shell_puts_in_a_files_place(node: Node, command: Command) -> None:
    """By <(another command): beside its path nothing can be written."""
    reader, writer = os.pipe()
    os.write(writer, b"id,v\n1,a\nx,b\n")
    os.close(writer)
    try:
        status, _, err = command(WRITE, f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert (status, node.sent) == (1, [(1, "a")])
    assert "they are in stdin.failed.jsonl" in err
    assert Path("stdin.checkpoint").exists()


@pytest.mark.parametrize(
    ("options", "total"), [({}, COUNT), ({"skip": 9}, COUNT - 9), ({"skip": 9, "limit": 20}, 20)]
)
def test_what_is_read_already_is_not_shown_as_done(node: Node, options: Any, total: int) -> None:
    """Nor what is left out at the beginning, and at the end."""
    seen: list[Any] = []
    node.meanwhile = lambda key: seen.append(looker.look())
    made = BulkRun(node.session, node.statements[WRITE], "rows.csv", concurrency=1, **options)
    looker = Looker(made)
    assert made.run().succeeded == len(seen) == total
    for number, state in enumerate(seen):
        assert state.share == state.settled / total <= number / total
        assert (state.seconds_left is None) == (not state.settled)


def test_options_that_are_refused_or_go_together(node: Node, command: Command) -> None:
    status, _, err = command(WRITE, "rows.csv", "--retry-failed", "rows.csv.failed.jsonl")
    assert status == 2
    assert "--retry-failed takes the place of files" in err
    Path("rows.csv.failed.jsonl").write_text('{"record": {"id": "1", "v": ""}}\n')
    status, _, err = command("--retry-failed", "rows.csv.failed.jsonl")
    assert (status, node.sent) == (2, [])
    assert "rows.csv.checkpoint is not there: give it before --retry-failed" in err
    batches = ("--executor", "batch", "--batch-mode", "replica_set", "--overwrite")
    assert command(WRITE, "rows.csv", *batches)[0] == 0


def test_a_terminal_has_its_cursor_back_when_it_is_interrupted() -> None:
    ours, theirs = pty.openpty()
    script = (
        "import os, signal\n"
        "from concurrent_exec.cli.interrupts import stopped_by_signals\n"
        "with stopped_by_signals(lambda: None):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], stderr=theirs).returncode == 0
    os.close(theirs)
    shown = written_to(ours)
    assert shown.startswith("\x1b[?25h")
    assert "stopping: what is in flight is finished" in shown
