"""`bulk.run` from Python, on a session that does what a script says."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pandas
import pytest
from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cqltypes import Int32Type, UTF8Type

from concurrent_exec import Retry
from concurrent_exec.bulk import (
    BulkRun,
    ChangedError,
    EarlierRunError,
    FailedSource,
    JournalError,
    NotIdempotentError,
    run,
    sources,
)
from concurrent_exec.bulk import ledger as ledger_module
from concurrent_exec.bulk.appending import Appender, InUseError
from concurrent_exec.bulk.journal import entry_at
from concurrent_exec.bulk.ledger import Ledger
from concurrent_exec.testing import Reply, ScriptedSession
from tests.bulk.samples import brings
from tests.integration.support import our_threads, wait_for, wait_for_end_of_threads

INSERT = "INSERT INTO t (id, v) VALUES (?, ?)"
NO_RETRY: dict[str, Any] = {"retry": None}
LATER_CHUNK = 1_500
"""A record that is not read together with the first."""


def session_of(script: Callable[[Any, Any], Reply | None]) -> tuple[ScriptedSession, Any]:
    session = ScriptedSession(script)
    columns = {"id": Int32Type, "v": UTF8Type}
    return session, session.as_prepared(INSERT, columns, partition_key=["id"])


def records(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": n, "v": f"value {n}"} for n in range(first, first + count)]


def at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(at_once=True)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_of_python(tmp_path: Path) -> None:
    """Each is sent once, and those that are none or fail are told of."""
    sent: list[Any] = []

    def script(statement: Any, parameters: Any) -> Reply:
        sent.append(parameters[0])
        error = InvalidRequest("value 5 is not for you") if parameters[0] == 5 else None
        return Reply(error=error, at_once=True)

    session, insert = session_of(script)
    given = [*records(10), {"id": "x", "v": "private"}, {"v": "no key"}, {"id": 12, "v": None}]
    report = run(session, insert, given, failed_file=tmp_path / "failed", **NO_RETRY)
    assert sorted(sent) == [*range(10), 12]
    assert (report.succeeded, report.failed, report.rejected) == (10, 1, 2)
    assert report.kinds == {"ConversionError": 2, "InvalidRequest": 1}
    assert not report.all_done
    # What the server says may have values: it is in the file, and not in the report.
    assert "not for you" not in str(report.examples)
    assert "private" not in str(report.examples)
    found = {line["place"]: line for line in lines(tmp_path / "failed")}
    assert found[6]["message"] == "value 5 is not for you"
    assert found[6]["record"] == {"id": 5, "v": "value 5"}
    assert found[11]["record"]["v"] == "private"
    assert sorted(found) == [6, 11, 12]


def test_the_failed_file_is_private(tmp_path: Path) -> None:
    session, insert = session_of(at_once)
    run(session, insert, [{"id": "x", "v": ""}], failed_file=tmp_path / "failed")
    assert (tmp_path / "failed").stat().st_mode & 0o077 == 0


def test_failed_records_of_json_are_taken_again_as_they_were(tmp_path: Path) -> None:
    """Numbers stay numbers, so what is refused as one is refused again."""
    file = tmp_path / "records.jsonl"
    given: list[dict[str, Any]]
    given = [{"id": 1, "v": 2.5}, {"v": [1, 0.1]}, {"id": "7", "v": "right"}, {"id": 8.5, "v": ""}]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in given))
    session, insert = session_of(
        lambda _, parameters: Reply(
            error=InvalidRequest("no") if parameters[0] == 7 else None, at_once=True
        )
    )
    failed, again = tmp_path / "failed", tmp_path / "again"
    report = run(session, insert, file, failed_file=failed, **NO_RETRY)
    assert (report.failed, report.rejected) == (1, 3)
    assert [line["place"] for line in lines(failed)] == [1, 2, 4, 3]
    assert {line["place"]: line["record"] for line in lines(failed)} == {
        # What a record of JSON lacks is null, as its column has it for the others.
        place: {"id": None, **record}
        for place, record in enumerate(given, 1)
    }
    report = run(session, insert, FailedSource(failed), failed_file=again, **NO_RETRY)
    assert (report.failed, report.rejected) == (1, 3)
    by_place = {line["place"]: line for line in lines(failed)}
    assert {line["place"]: line for line in lines(again)} == by_place


def test_no_failures_leave_no_file(tmp_path: Path) -> None:
    session, insert = session_of(at_once)
    report = run(session, insert, records(5), failed_file=tmp_path / "failed")
    assert report.all_done
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("budget", "most"), [(0, 1), (3, 4), ("10%", None), (None, None)])
def test_an_error_budget(budget: int | str | None, most: int | None) -> None:
    session, insert = session_of(lambda *_: Reply(error=InvalidRequest("no"), at_once=True))
    report = run(session, insert, records(500), max_errors=budget, concurrency=1, **NO_RETRY)
    if budget is None:
        assert (report.ended, report.failed) == ("finished", 500)
    else:
        assert report.ended == "too many errors"
        assert most is None or report.failed == most
        assert report.failed < 500


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (-1, "must be at least 0, not -1"),
        *((wrong, "must be a whole number, not") for wrong in (True, 1.5)),
        *((wrong, "must be a whole number of at least 0, or a per") for wrong in ("5", "101%")),
    ],
)
def test_budgets_that_are_none(budget: Any, said: str) -> None:
    session, insert = session_of(at_once)
    with pytest.raises((TypeError, ValueError), match=f"^max_errors {said}"):
        run(session, insert, records(1), max_errors=budget)


def test_stopped_and_resumed(tmp_path: Path) -> None:
    """What is in flight is finished; what has failed by then may yet be tried again."""
    sent: list[int] = []
    made: list[BulkRun] = []

    def script(statement: Any, parameters: Any) -> Reply:
        sent.append(parameters[0])
        if len(sent) == 100:
            made[0].stop()
        return Reply(error=OperationTimedOut() if parameters[0] == 50 else None, at_once=True)

    session, insert = session_of(script)
    options: Any = {
        "checkpoint": tmp_path / "journal",
        "failed_file": tmp_path / "failed",
        "concurrency": 10,
        "retry": Retry(initial_backoff=1e6, max_backoff=1e6),
    }
    source = [*records(400), {"id": "x", "v": ""}, *records(400, 401)]
    made.append(BulkRun(session, insert, source, **options))
    report = made[0].run()
    assert report.ended == "interrupted"
    assert len(sent) >= 100
    assert report.failed == 0  # 50 was to be tried again
    entry = entry_at(tmp_path / "journal")
    assert entry is not None
    assert not entry.finished
    assert entry.done == 50
    before = set(sent)

    sent.clear()
    session, insert = session_of(
        lambda statement, parameters: (sent.append(parameters[0]), at_once(0, 0))[1]  # type: ignore[func-returns-value]
    )
    with pytest.raises(EarlierRunError, match="resume"):
        run(session, insert, source, **options)
    report = run(session, insert, source, resume=True, **options)
    assert report.ended == "finished"
    assert (report.succeeded, report.rejected) == (800, 1)
    assert sorted(sent) == sorted({n for n in range(801) if n != 400} - before | {50})
    assert [line["place"] for line in lines(tmp_path / "failed")] == [401]
    # What is finished is only told again.
    sent.clear()
    again = run(session, insert, source, resume=True, **options)
    assert (again.succeeded, again.rejected, sent) == (800, 1, [])


def test_stopped_before_it_begins(tmp_path: Path) -> None:
    """It is no error, and all is left for a resumed run."""
    session, insert = session_of(at_once)
    made = BulkRun(session, insert, records(100), checkpoint=tmp_path / "journal")
    made.stop()
    report = made.run()
    assert report.ended == "interrupted"
    assert report.records == session.sent < 100
    report = run(session, insert, records(100), checkpoint=tmp_path / "journal", resume=True)
    assert report.all_done
    assert session.sent == 100


def test_reading_ends_soon_after_a_run_that_was_stopped() -> None:
    """And not at the end of the input, which may be far, or have none."""
    returned, threads = Event(), our_threads()

    def given() -> Iterator[dict[str, Any]]:
        yield from records(LATER_CHUNK)
        stopped.stop()
        assert returned.wait(60)
        for number in itertools.count(LATER_CHUNK):
            yield from records(1, number)

    stopped = BulkRun(*session_of(at_once), given())
    assert stopped.run().ended == "interrupted"
    returned.set()
    wait_for_end_of_threads(threads)


def test_an_input_that_raises(tmp_path: Path) -> None:
    """What came before is done and noted, and the error is the caller's."""

    def broken() -> Iterator[dict[str, Any]]:
        yield from records(3000)
        raise LookupError("the source has gone")

    session, insert = session_of(at_once)
    with pytest.raises(LookupError, match="the source has gone"):
        run(session, insert, broken(), checkpoint=tmp_path / "journal")
    entry = entry_at(tmp_path / "journal")
    assert entry is not None
    assert entry.done == session.sent
    assert not entry.finished


def test_a_checkpoint_that_can_not_be_written(tmp_path: Path) -> None:
    """The run stops, the error is the caller's, and the last good entry stays."""
    folder = tmp_path / "folder"
    folder.mkdir()
    journal = folder / "journal"
    calls = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal calls
        for each in iter(lambda: records(1)[0], None):
            calls += 1
            if calls == 100:
                journal.unlink()
                folder.rmdir()
            yield each

    session, insert = session_of(at_once)
    with pytest.raises(OSError, match="journal"):
        run(session, insert, endless(), checkpoint=journal, checkpoint_interval=0.01)


def test_what_can_not_be_resumed(tmp_path: Path) -> None:
    session, insert = session_of(lambda *_: Reply(error=InvalidRequest("no"), at_once=True))
    journal = tmp_path / "journal"
    options: Any = {"checkpoint": journal, "max_errors": 0, "concurrency": 1, **NO_RETRY}
    run(session, insert, records(100), **options)
    with pytest.raises(ChangedError, match="missing was"):
        run(session, insert, records(100), resume=True, missing="null", **options)
    with pytest.raises(NotIdempotentError):
        run(session, insert, records(100), resume=True, idempotent=False, **options)
    run(session, insert, records(100), resume=True, idempotent=False, resume_anyway=True, **options)
    journal.write_text("{}")
    with pytest.raises(JournalError, match="no checkpoint"):
        run(session, insert, records(100), resume=True, **options)
    with pytest.raises(ValueError, match="checkpoint"):
        run(session, insert, records(100), resume=True)


@pytest.mark.parametrize("make", [list, lambda: iter([]), pandas.DataFrame])
def test_where_there_is_nothing_all_is_done(make: Callable[[], Any], tmp_path: Path) -> None:
    session, insert = session_of(at_once)
    report = run(session, insert, make(), checkpoint=tmp_path / "journal")
    assert (report.records, report.all_done) == (0, True)


def test_two_runs_never_write_the_same_file(tmp_path: Path) -> None:
    session, insert = session_of(at_once)
    held = Appender(tmp_path / "failed")
    try:
        with pytest.raises(InUseError, match="another run"):
            run(session, insert, records(1), failed_file=tmp_path / "failed")
    finally:
        held.close()


@pytest.mark.parametrize("name", ["failed_file", "output", "not_found_file", "checkpoint"])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """Whoever may write into the folder must not choose what file is overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    output = tmp_path / "rows.csv"
    path = output if name == "output" else tmp_path / name
    # What becomes the checkpoint is written beside it.
    link = tmp_path / "checkpoint.new" if name == "checkpoint" else path
    link.symlink_to(precious)
    session, read = reads_of(["=1"])
    options: dict[str, Any] = {"output": output, name: path, "overwrite": True}
    with pytest.raises(OSError, match="symbolic link") as raised:
        run(session, read, [{"id": 1}], **options)
    assert str(raised.value.filename).startswith(str(path))
    assert precious.read_text() == "as it was"


def test_a_link_in_the_place_of_what_becomes_parquet(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    (tmp_path / "rows.parquet.new").symlink_to(precious)
    session, read = reads_of(["x"])
    with pytest.raises(OSError, match="symbolic link"):
        run(session, read, [{"id": 1}], output=tmp_path / "rows.parquet")
    assert precious.read_text() == "as it was"


def reads_of(texts: list[str]) -> tuple[ScriptedSession, Any]:
    """Return a session whose reads bring these, with a number, and such a read."""
    rows = [(-1, text) for text in texts]
    session = ScriptedSession(lambda statement, parameters: Reply(rows=rows, at_once=True))
    select = "SELECT n, v FROM t WHERE id = ?"
    read = session.as_prepared(select, {"id": Int32Type}, partition_key=["id"])
    return session, brings(read, [("n", Int32Type), ("v", UTF8Type)])


def test_formulas_are_guarded_on_request(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "harmless", "a=1", ""]
    session, read = reads_of(texts)
    run(session, read, [{"id": 1}], output=output)
    with output.open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["-1", text] for text in texts]
    run(session, read, [{"id": 1}], output=output, guard_formulas=True, overwrite=True)
    with output.open(newline="") as file:
        guarded = [f"'{text}" for text in texts[:6]] + texts[6:]
        assert list(csv.reader(file))[1:] == [["-1", text] for text in guarded]


def test_options_that_are_none() -> None:
    session, insert = session_of(at_once)
    wrong: Any
    for wrong in (
        {"executor": "x"},
        {"batch_mode": "all"},
        {"weight": 2},
        {"skip": -1},
        {"limit": "1"},
        {"checkpoint_interval": 0},
        {"with_keys": True},
        {"guard_formulas": True},
    ):
        with pytest.raises((TypeError, ValueError)):
            run(session, insert, records(1), **wrong)
    with pytest.raises(TypeError, match="conncurrency"):
        run(session, insert, records(1), conncurrency=1)  # type: ignore[call-arg]


# ---- what is in the memory ----


class Reading:
    """A run of large records, in a thread of its own, whose answers the test gives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, concurrency: int = 50) -> None:
        self.waits = Event()
        self.pulled = 0
        self.answers_at_once = False
        self.session, insert = session_of(
            lambda *_: Reply(at_once=True) if self.answers_at_once else None
        )
        waits_for_room = Ledger.wait_for_room

        def wait_for_room(ledger: Ledger) -> None:
            if ledger._settled.size > ledger_module.ENOUGH:
                self.waits.set()
            waits_for_room(ledger)

        monkeypatch.setattr(ledger_module, "ENOUGH", 50_000)
        monkeypatch.setattr(Ledger, "wait_for_room", wait_for_room)
        monkeypatch.setattr(sources, "_AT_ONCE", 1)
        options: Any = {"concurrency": concurrency, **NO_RETRY}
        self.run = BulkRun(self.session, insert, self._records(), **options)
        self.thread = Thread(target=self.run.run)
        self.thread.start()

    def _records(self) -> Iterator[dict[str, Any]]:
        for n in range(100):
            self.pulled += 1
            yield {"id": n, "v": "x" * (60_000 if n else 1)}

    def answer_all(self) -> None:
        self.answers_at_once = True
        while self.thread.is_alive():
            for request in list(self.session.pending):
                request.succeed()
            self.thread.join(0.005)


def test_large_records_are_not_read_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    try:
        assert reading.waits.wait(30)
        # The first one that there is no room for is read, and one more was looked at.
        assert reading.pulled <= 3
    finally:
        reading.answer_all()
    assert reading.pulled == 100
    assert reading.run.ledger is not None
    assert reading.run.ledger.counts["succeeded"] == 100


def test_a_stop_reaches_who_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = our_threads()
    reading = Reading(monkeypatch, concurrency=1)  # what is never sent makes no room
    try:
        assert reading.waits.wait(30)
        reading.run.stop()
        pulled = reading.pulled
        executor: Any = reading.run.executor
        wait_for(lambda: executor._shut_down)
    finally:
        reading.answer_all()
    wait_for_end_of_threads(threads)
    assert reading.pulled == pulled
