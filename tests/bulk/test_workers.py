"""Bulk runs whose portions other workers do; here these are threads, with the same pickling."""

from __future__ import annotations

import gc
import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from weakref import ref

import pytest
from cassandra import InvalidRequest
from cassandra.cqltypes import Int32Type, UTF8Type

from concurrent_exec import Retry, WorkerLostError
from concurrent_exec.bulk import (
    BulkRun,
    InputError,
    NoWorkersError,
    Shards,
    Workers,
    open_source,
    run,
    sources,
    spreading,
    worker,
)
from concurrent_exec.bulk import lines as reading_lines
from concurrent_exec.bulk.journal import entry_at
from concurrent_exec.bulk.portion_ledger import PortionLedger
from concurrent_exec.bulk.portions import Portion, Settlement
from concurrent_exec.bulk.records import cut
from concurrent_exec.bulk.spreading import Spread
from concurrent_exec.bulk.worker import Reply as PortionReply
from concurrent_exec.bulk.worker import do_portion
from concurrent_exec.model import StatementSettled
from concurrent_exec.model.pickling import pack_error, unpack_error
from concurrent_exec.observers import LatencyHistogram
from concurrent_exec.testing import Reply, Request, ScriptedSession
from tests.bulk.samples import brings
from tests.executors import Here, Threads

INSERT = "INSERT INTO t (id, v) VALUES (?, ?)"
SELECT = "SELECT v FROM t WHERE id = ?"


class Stamping(ScriptedSession):
    """Gives a request the timestamp that its cluster's generator makes, as a driver does."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.stamped: list[tuple[int, int]] = []
        """The keys of what was sent, and its timestamps."""

    def make_request(self, query: Any, parameters: Any, options: Any) -> Request:
        request = super().make_request(query, parameters, options)
        generator = getattr(self.cluster, "timestamp_generator", None)
        if generator is not None:
            request.message.timestamp = generator()
        return request

    def send(self, request: Request) -> None:
        assert request.message.timestamp is not None
        self.stamped.append((request.parameters[0], request.message.timestamp))
        super().send(request)


class Table:
    """What has been written over a session, which workers share."""

    def __init__(self, script: Callable[[int], Exception | None] = lambda key: None) -> None:
        self.written: Counter[int] = Counter()
        self._script = script
        self._lock = Lock()
        self.session = Stamping(self._reply)
        columns = {"id": Int32Type, "v": UTF8Type}
        self.insert = self.session.as_prepared(INSERT, columns, partition_key=["id"])

    def _reply(self, statement: Any, parameters: Any) -> Reply:
        key = parameters[0]
        error = self._script(key)
        if error is None:
            with self._lock:
                self.written[key] += 1
        return Reply(error=error, at_once=True)

    def workers(self, pool: Callable[[], Executor] = Threads, processes: int = 3) -> Workers:
        return Workers(Here(self.session), processes=processes, pool=pool)

    def run(self, source: Any, **options: Any) -> Any:
        given = {"workers": self.workers(), "retry": None, **options}
        return run(self.session, self.insert, source, **given)


def select_of(session: ScriptedSession) -> Any:
    select = session.as_prepared(SELECT, {"id": Int32Type}, partition_key=["id"])
    return brings(select, [("v", UTF8Type)])


def records(count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    return ({"id": n, "v": f"value {n}"} for n in range(first, first + count))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def csv_of(path: Path, keys: range) -> str:
    path.write_text("id,v\n" + "".join(f"{key},value {key}\n" for key in keys))
    return str(path)


class Dies(Executor):
    """A pool whose worker dies of the portions that it is told to, before or after doing them."""

    def __init__(self, deaths: list[str]) -> None:
        self.deaths = deaths

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if len(arguments) < 2 or not self.deaths:
            return Threads().submit(do, *arguments, **named)
        if self.deaths.pop() == "after":
            Threads().submit(do, *arguments, **named).result(60)
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("killed"))
        return future


def test_each_record_is_sent_once_and_what_fails_is_told(tmp_path: Path) -> None:
    table = Table(lambda key: InvalidRequest("not for you") if key % 1000 == 7 else None)
    given = [*records(8_000), {"id": "x", "v": "private"}, {"v": "no key"}]
    report = table.run(given, failed_file=tmp_path / "failed", checkpoint=tmp_path / "journal")
    wanted = [key for key in range(8_000) if key % 1000 != 7]
    assert table.written == Counter(wanted)
    assert (report.succeeded, report.failed, report.rejected) == (len(wanted), 8, 2)
    assert report.kinds == {"InvalidRequest": 8, "ConversionError": 2}
    found = {line["place"]: line for line in lines(tmp_path / "failed")}
    assert sorted(found) == [*range(8, 8_000, 1000), 8_001, 8_002]
    assert found[8]["record"] == {"id": 7, "v": "value 7"}
    assert found[8_001]["record"]["v"] == "private"
    entry = entry_at(tmp_path / "journal")
    assert entry is not None
    assert (entry.finished, entry.done, entry.beyond) == (True, 8_002, ())


def test_rows_come_in_the_order_of_the_input(tmp_path: Path) -> None:
    session = ScriptedSession(
        lambda statement, parameters: (
            Reply(rows=[(f"value {parameters[0]}",)], at_once=True)
            if parameters[0] % 3
            else Reply(rows=[], at_once=True)
        )
    )
    select = select_of(session)
    report = run(
        session,
        select,
        [{"id": n} for n in range(4_500)],
        workers=Workers(Here(session), processes=3, pool=Threads),
        output=tmp_path / "rows.csv",
        with_keys=True,
        not_found_file=tmp_path / "nothing",
    )
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows == ["id,v", *(f"{n},value {n}" for n in range(4_500) if n % 3)]
    assert (report.rows, report.not_found) == (3_000, 1_500)
    assert [line["record"]["id"] for line in lines(tmp_path / "nothing")] == [*range(0, 4_500, 3)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_lost_worker_had_is_sent_again_where_that_is_safe(when: str, tmp_path: Path) -> None:
    table = Table()
    deaths = [when, when]
    report = table.run(
        records(10_000),
        workers=table.workers(partial(Dies, deaths)),
        idempotent=True,
        checkpoint=tmp_path / "journal",
    )
    assert (report.succeeded, report.failed, deaths) == (10_000, 0, [])
    assert set(table.written) == set(range(10_000))


def test_a_record_keeps_its_timestamp_whoever_sends_it_and_when() -> None:
    """So of two records of one row the later one counts."""
    table = Table()
    table.run(
        records(5_000),
        workers=table.workers(partial(Dies, ["after"]), processes=1),
        idempotent=True,
    )
    stamped = table.session.stamped
    assert len(stamped) > 5_000
    stamps = dict(stamped)
    assert len(set(stamped)) == len(stamps) == 5_000
    assert sorted(stamps, key=stamps.__getitem__) == sorted(stamps)


class Overtaking(Stamping):
    """While the request of record 10 is made, another thread sends some of those behind it."""

    def make_request(self, query: Any, parameters: Any, options: Any) -> Request:
        if parameters[0] == 10:
            other = Thread(target=self.pending[0].succeed)  # which frees a place
            other.start()
            other.join()
        return super().make_request(query, parameters, options)


def test_a_timestamp_is_that_of_the_record_whichever_thread_sends_it() -> None:
    session = Overtaking(lambda statement, parameters: Reply(at_once=parameters[0] > 0))
    insert = session.as_prepared(INSERT, {"id": Int32Type, "v": UTF8Type}, partition_key=["id"])
    workers = Workers(Here(session), processes=1, pool=Threads)
    run(session, insert, records(200), workers=workers, retry=None)
    keys = [key for key, _ in session.stamped]
    assert keys != sorted(keys)
    assert len({stamp - key for key, stamp in session.stamped}) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_lost_worker_had_fails_where_it_is_not(when: str, tmp_path: Path) -> None:
    """Nothing is sent twice, and each record whose fate is not known is in the failed file."""
    table = Table()
    report = table.run(
        records(10_000),
        workers=table.workers(partial(Dies, [when])),
        idempotent=False,
        failed_file=tmp_path / "failed",
    )
    failed = lines(tmp_path / "failed")
    lost = {line["record"]["id"] for line in failed}
    assert {line["error"] for line in failed} == {"WorkerLostError"}
    assert report.failed == len(failed) == len(lost) > 0
    assert report.succeeded == 10_000 - len(lost)
    assert max(table.written.values()) == 1
    unknown = lost if when == "before" else set()
    assert set(table.written) == set(range(10_000)) - unknown


def test_what_a_lost_worker_had_is_told_though_the_run_is_stopped(tmp_path: Path) -> None:
    """Else a run that is resumed would send it again."""

    def stop(key: int) -> None:
        if key == 10:
            going.stop()
            assert going._spread is not None
            going._spread.stop()  # what the keeper does soon: before the death is known

    source = csv_of(tmp_path / "records.csv", range(3_000))
    options: dict[str, Any] = {
        "idempotent": False,
        "failed_file": tmp_path / "failed",
        "checkpoint": tmp_path / "journal",
        "retry": None,
    }
    stopped, table = Table(stop), Table()
    workers = stopped.workers(partial(Dies, ["after"]), processes=1)
    going = BulkRun(stopped.session, stopped.insert, source, workers=workers, **options)
    assert going.run().ended == "interrupted"
    lost = {int(line["record"]["id"]) for line in lines(tmp_path / "failed")}
    assert lost == set(stopped.written)
    report = table.run(source, resume=True, resume_anyway=True, **options)
    assert report.records == 3_000
    assert table.written == Counter(set(range(3_000)) - lost)


class Fading(Executor):
    """A pool of one process that does its first portion, and dies when it is told to."""

    def __init__(self) -> None:
        self.first: Future[Any] | None = None

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.first is None:
            Threads().submit(do, *arguments, **named).result(60)
            self.first = Future()
            return self.first
        future: Future[Any] = Future()
        future.set_result(("raised", pack_error(OSError("unplugged"))))
        return future


@pytest.mark.parametrize(
    ("in_shards", "then"), [(False, "none"), (True, "another"), (True, "raises"), (True, "none")]
)
def test_what_is_lost_while_a_run_ends_with_an_error_is_told(
    in_shards: bool, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the error is raised. Where nobody can tell the records of a shard, it says so."""
    fading, table = Fading(), Table()

    def comes(packed: bytes) -> BaseException:
        assert fading.first is not None
        if not fading.first.done():
            fading.first.set_exception(BrokenExecutor("killed"))
        return unpack_error(packed)

    def another() -> Executor:
        if pools:
            return pools.pop()
        if then == "none":
            raise BrokenExecutor("none is free")
        pool = Fading()
        pool.first = None if then == "another" else Future()
        return Threads() if then == "another" else pool

    pools = [fading]
    monkeypatch.setattr(spreading, "unpack_error", comes)
    monkeypatch.setattr(spreading, "MISSING", 1000.0)
    paths = [csv_of(tmp_path / f"{n}.csv", range(n * 1_500, n * 1_500 + 1_500)) for n in range(2)]
    options: dict[str, Any] = {
        "idempotent": False,
        "failed_file": tmp_path / "failed",
        "checkpoint": tmp_path / "journal",
    }

    def source() -> Any:
        return Shards.of_files(paths) if in_shards else open_source(paths)

    workers = table.workers(another, processes=1)
    with pytest.raises(OSError, match="unplugged") as raised:
        table.run(source(), workers=workers, **options)
    sent = set(table.written)
    assert sent
    lost = {int(line["record"]["id"]) for line in lines(tmp_path / "failed")}
    if in_shards and then != "another":
        assert not lost
        assert raised.value.__notes__ == [
            "concurrent_exec: the worker process was lost that had records of shard 1 from record "
            "1 on (1000 at most), and no other could tell which these are: they may have been "
            "applied, and a resumed run sends them again"
        ]
        return
    assert lost == sent
    assert not hasattr(raised.value, "__notes__")
    report = table.run(source(), resume=True, resume_anyway=True, **options)
    assert report.records == 3_000
    assert table.written == Counter(range(3_000))


def test_a_stop_waits_for_no_process_to_tell_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "MISSING", 1000.0)

    def stop(key: int) -> None:
        assert going._spread is not None
        going._spread.stop()

    table = Table(stop)
    pools: list[Executor] = [Dies(["after"])]

    def pool() -> Executor:
        if not pools:
            raise BrokenExecutor("none is free")
        return pools.pop()

    shards = Shards.of_files([csv_of(tmp_path / "records.csv", range(3_000))])
    going = BulkRun(
        table.session,
        table.insert,
        shards,
        workers=table.workers(pool, processes=1),
        idempotent=False,
    )
    with pytest.raises(NoWorkersError, match=r"had records of shard 1 from record 1 on \(1000 at"):
        going.run()


def test_rows_come_in_order_though_a_process_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another does the portion after its own."""
    begun, known = Event(), Event()

    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        if known.is_set():
            return do_portion(task, portion, shard)
        if not pickle.loads(portion).first:
            assert begun.wait(60)
            return "raised", pack_error(OSError("unplugged"))
        begun.set()
        assert known.wait(60)
        return do_portion(task, portion, shard)

    def notes(packed: bytes) -> BaseException:
        known.set()
        return unpack_error(packed)

    monkeypatch.setattr(spreading, "do_portion", do)
    monkeypatch.setattr(spreading, "unpack_error", notes)
    session = ScriptedSession(
        lambda statement, parameters: Reply(rows=[(str(parameters[0]),)], at_once=True)
    )
    source = tmp_path / "ids.csv"
    source.write_text("id\n" + "".join(f"{n}\n" for n in range(3_000)))
    options: dict[str, Any] = {
        "workers": Workers(Here(session), processes=2, pool=Threads),
        "output": tmp_path / "rows.csv",
        "checkpoint": tmp_path / "journal",
    }
    with pytest.raises(OSError, match="unplugged"):
        run(session, select_of(session), str(source), **options)
    run(session, select_of(session), str(source), resume=True, **options)
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows == ["v", *(f"{n}" for n in range(3_000))]


class Once:
    """A statement that brings a row of each record, and must not be sent twice."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[int] = []
        self.script: Callable[[int], object] = lambda key: None
        self._session = ScriptedSession(self._reply)
        self._folder = folder
        self._source = folder / "ids.csv"
        self._source.write_text("id\n" + "".join(f"{n}\n" for n in range(3_000)))

    def _reply(self, statement: Any, parameters: Any) -> Reply:
        (key,) = parameters
        self.script(key)
        self.sent.append(key)
        return Reply(rows=[(str(key),)], at_once=True)

    def going(self, pool: Callable[[], Executor] = Threads, **options: Any) -> BulkRun:
        return BulkRun(
            self._session,
            select_of(self._session),
            str(self._source),
            idempotent=False,
            output=self._folder / "rows.csv",
            checkpoint=self._folder / "journal",
            **{"workers": Workers(Here(self._session), processes=2, pool=pool), **options},
        )

    def rows(self) -> list[int]:
        """What was put out."""
        header, *rows = (self._folder / "rows.csv").read_text().splitlines()
        assert header == "v"
        return list(map(int, rows))


@pytest.mark.parametrize("resumed", [{}, {"workers": None}])
def test_what_was_sent_behind_a_gap_is_not_sent_again_where_that_may_do_harm(
    resumed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows come before those of the gap then: better than what is applied twice."""
    once = Once(tmp_path)
    begun, known = Event(), Event()

    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        if not pickle.loads(portion).first and not known.is_set():
            assert begun.wait(60)
            return "raised", pack_error(OSError("unplugged"))
        begun.set()
        assert known.wait(60)
        return do_portion(task, portion, shard)

    def notes(packed: bytes) -> BaseException:
        known.set()
        return unpack_error(packed)

    monkeypatch.setattr(spreading, "do_portion", do)
    monkeypatch.setattr(spreading, "unpack_error", notes)
    with pytest.raises(OSError, match="unplugged"):
        once.going().run()
    before = list(once.sent)
    assert before
    assert min(before) > 0
    assert once.rows() == sorted(before)
    report = once.going(resume=True, resume_anyway=True, **resumed).run()
    assert (report.ended, report.rows) == ("finished", 3_000)
    assert sorted(once.sent) == list(range(3_000))
    assert once.rows() == [*sorted(before), *(n for n in range(3_000) if n not in before)]


class Slow(Executor):
    """A pool that has done its first portion when it is told to, and those of others at once."""

    def __init__(self, go_on: Event) -> None:
        self._go_on = go_on

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            assert self._go_on.wait(60)
            if future.set_running_or_notify_cancel():
                future.set_result(do(*arguments, **named))

        if len(arguments) > 1 and not pickle.loads(arguments[1]).first:
            Thread(target=work, daemon=True).start()
        else:
            future.set_result(do(*arguments, **named))
        return future


def test_a_stop_leaves_no_gap_where_nothing_may_be_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the rows of a resumed run come in order."""
    once = Once(tmp_path)
    go_on = Event()

    def stop(key: int) -> None:
        assert going._spread is not None
        going.stop()
        going._spread.stop()  # what the keeper does soon: before the portion is known to be done

    def takes(spread: Spread, *reply: Any) -> None:
        go_on.set()  # it is known, and so is the stop
        take(spread, *reply)

    take = Spread._take_settlement
    monkeypatch.setattr(Spread, "_take_settlement", takes)
    once.script = stop
    going = once.going(partial(Slow, go_on))
    assert going.run().ended == "interrupted"
    assert once.rows() == list(range(len(once.sent)))
    once.script = lambda key: None
    report = once.going(resume=True, resume_anyway=True).run()
    assert (report.ended, report.rows) == ("finished", 3_000)
    assert sorted(once.sent) == once.rows() == list(range(3_000))


class Unreadable:
    """Can be pickled, but not be read where it comes."""

    def __reduce__(self) -> Any:
        return int, ("private",)


@pytest.mark.parametrize("idempotent", [False, True])
def test_an_answer_that_can_not_be_read_is_one_that_was_lost(
    idempotent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        return "done", pickle.dumps(Unreadable())

    monkeypatch.setattr(spreading, "do_portion", do)
    table = Table()
    options: dict[str, Any] = {"idempotent": idempotent, "failed_file": tmp_path / "failed"}
    reason = "its answer can't be read here: ValueError"
    if idempotent:
        with pytest.raises(WorkerLostError, match=f"{reason}, for the 5th time$"):
            table.run(records(10), **options)
    else:
        report = table.run(records(10), **options)
        assert report.kinds == {"WorkerLostError": 10}
        assert lines(tmp_path / "failed")[0]["message"].endswith(reason)


def test_a_worker_goes_on_after_what_was_lost_is_too_much_for_its_budget(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the others may have sent so much meanwhile that it is not, after all."""
    done: list[int] = []

    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        given: Portion = pickle.loads(portion)
        done.append(given.first)
        assert done.count(given.first) < 5, "it does nothing any more"
        if given.lost is not None:
            portion = pickle.dumps(replace(given, before=(2_000, 2_000)))
        return do_portion(task, portion, shard)

    monkeypatch.setattr(spreading, "do_portion", do)
    table = Table()
    workers = table.workers(partial(Dies, ["before"]), processes=1)
    shards = Shards.of_files([csv_of(tmp_path / "records.csv", range(5_000))])
    report = table.run(shards, workers=workers, idempotent=False, max_errors=1_500)
    assert (report.ended, report.records) == ("finished", 5_000)
    assert table.written.total() == report.succeeded == 5_000 - report.failed
    assert report.failed > 0


def test_workers_that_die_again_and_again_end_the_run(tmp_path: Path) -> None:
    table = Table()
    with pytest.raises(WorkerLostError, match="killed"):
        table.run(
            records(10),
            workers=table.workers(partial(Dies, ["before"] * 100)),
            idempotent=True,
            checkpoint=tmp_path / "journal",
        )
    report = table.run(records(10), idempotent=True, checkpoint=tmp_path / "journal", resume=True)
    assert report.succeeded == 10


class Missing:
    """Makes pools, but only so many."""

    def __init__(self, there: int) -> None:
        self.left = there

    def __call__(self) -> Executor:
        self.left -= 1
        if self.left < 0:
            raise BrokenExecutor("none is free")
        return Dies(["before"] if self.left == 1 else [])


def test_fewer_workers_than_wanted_do_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "MISSING", 0.01)
    table = Table()
    report = table.run(records(5_000), workers=table.workers(Missing(2)), idempotent=True)
    assert report.succeeded == 5_000
    assert set(table.written) == set(range(5_000))


def test_without_any_worker_the_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "MISSING", 0.01)
    monkeypatch.setattr(spreading, "PATIENCE", 0.05)
    table = Table()
    with pytest.raises(NoWorkersError, match="none is free"):
        table.run(records(10), workers=table.workers(Missing(0)), checkpoint=tmp_path / "journal")
    report = table.run(records(10), checkpoint=tmp_path / "journal", resume=True, idempotent=True)
    assert report.succeeded == 10


def test_a_budget_holds_over_all_workers(tmp_path: Path) -> None:
    """What is left after it is for a resumed run, by other workers or by none."""
    failing = {"now": True}
    table = Table(lambda key: InvalidRequest("no") if failing["now"] and key % 2 else None)
    source = csv_of(tmp_path / "records.csv", range(8_000))
    options: dict[str, Any] = {
        "failed_file": tmp_path / "failed",
        "checkpoint": tmp_path / "journal",
        "concurrency": 30,
    }
    report = table.run(source, max_errors=50, **options)
    assert report.ended == "too many errors"
    # Each of three workers stops at it by itself, with what is in flight.
    assert 50 < report.failed <= 3 * (51 + 30)
    assert report.records < 1_000
    failing["now"] = False
    report = run(table.session, table.insert, source, resume=True, **options)
    assert (report.ended, report.records) == ("finished", 8_000)
    failed = {int(line["record"]["id"]) for line in lines(tmp_path / "failed")}
    assert table.written == Counter(set(range(8_000)) - failed)


def test_what_a_worker_has_left_is_done_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at a budget that, with what the others have sent, has not passed after all."""
    halved: list[int] = []

    def do_half(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        given: Portion = pickle.loads(portion)
        if halved or given.chunks is None:
            return do_portion(task, portion, shard)
        chunk = given.chunks[0]
        halved.append(chunk.count)
        some = replace(given, chunks=[cut(chunk, chunk.first, chunk.first + 100)])
        what, reply = do_portion(task, pickle.dumps(some), shard)
        settlement: Settlement = pickle.loads(reply)
        settlement.end = given.chunks[-1].first + given.chunks[-1].count
        return what, pickle.dumps(settlement)

    monkeypatch.setattr(spreading, "do_portion", do_half)
    table = Table()
    report = table.run(records(4_000))
    assert halved
    assert report.succeeded == 4_000
    assert table.written == Counter(range(4_000))


@pytest.mark.parametrize("size", [1_000, 5_000])
def test_what_a_worker_has_left_of_a_shard_is_done_once(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it leaves some of it twice; be it the shard's last portion or not."""
    left: list[int] = []

    def do_some(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        given: Portion = pickle.loads(portion)
        if given.first or len(left) == 2:
            return do_portion(task, portion, shard)
        some = (100 * len(left), 100 * len(left) + 100)
        left.append(given.most)
        others = [(0, some[0]), (some[1], given.most)]
        what, reply = do_portion(task, pickle.dumps(replace(given, beyond=others)), shard)
        settlement: Settlement = pickle.loads(reply)
        settlement.settled = [some]
        return what, pickle.dumps(settlement)

    monkeypatch.setattr(spreading, "do_portion", do_some)
    monkeypatch.setattr(spreading, "FIRST", 1_024)
    table = Table()
    shards = Shards.of_files([csv_of(tmp_path / "records.csv", range(size))])
    report = table.run(shards)
    assert left == [1_024, min(1_024, size)]
    assert (report.ended, report.records) == ("finished", size)
    assert table.written == Counter(range(size))


def test_a_portion_says_how_many_have_failed_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        told.append(pickle.loads(portion).before)
        return do_portion(task, portion, shard)

    monkeypatch.setattr(spreading, "do_portion", do)
    monkeypatch.setattr(spreading, "FIRST", 500)
    monkeypatch.setattr(spreading, "MOST", 500)
    table = Table(lambda key: InvalidRequest("no") if key % 100 == 0 else None)
    table.run(records(5_000), workers=table.workers(processes=1))
    assert (0, 0) in told
    assert (5, 500) in told
    assert told == sorted(told)


def test_it_is_stopped_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was handed out is settled, and the rest is sent by the next run."""
    monkeypatch.setattr(spreading, "MOST", 500)
    table = Table()
    source = csv_of(tmp_path / "records.csv", range(12_000))
    options: dict[str, Any] = {"checkpoint": tmp_path / "journal", "idempotent": True}

    def stop(key: int) -> None:
        if key == 4_000:
            going.stop()

    stopped = Table(stop)
    stopped.written = table.written
    going = BulkRun(stopped.session, stopped.insert, source, workers=stopped.workers(), **options)
    report = going.run()
    assert report.ended == "interrupted"
    assert report.succeeded == sum(table.written.values()) < 12_000
    report = table.run(source, resume=True, **options)
    assert (report.ended, report.succeeded) == ("finished", 12_000)
    assert table.written == Counter(range(12_000))


def test_a_run_of_one_process_is_gone_on_with_by_several(tmp_path: Path) -> None:
    table = Table()
    source = csv_of(tmp_path / "records.csv", range(5_000))
    options: dict[str, Any] = {"checkpoint": tmp_path / "journal", "idempotent": True}
    stopping = Table(lambda key: going.stop() if key == 2_000 else None)
    stopping.written = table.written
    going = BulkRun(stopping.session, stopping.insert, source, **options)
    assert going.run().ended == "interrupted"
    report = table.run(source, resume=True, **options)
    assert (report.ended, report.succeeded) == ("finished", 5_000)
    assert table.written == Counter(range(5_000))


def test_a_part_of_the_input(tmp_path: Path) -> None:
    table = Table()
    report = table.run(records(9_000), skip=2_500, limit=3_000)
    assert report.succeeded == 3_000
    assert table.written == Counter(range(2_500, 5_500))


def test_what_the_input_raises_comes_after_what_it_gave(tmp_path: Path) -> None:
    table = Table()

    def broken() -> Iterator[Any]:
        yield from records(3_000)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        table.run(broken(), checkpoint=tmp_path / "journal")
    entry = entry_at(tmp_path / "journal")
    assert entry is not None
    assert entry.done == sum(table.written.values()) >= 2_048  # what was read is sent
    assert not entry.finished


def test_a_worker_without_a_session_ends_the_run() -> None:
    def refuses() -> Any:
        raise OSError("nobody is there")

    table = Table()
    with pytest.raises(TypeError, match="connect must be picklable"):
        Workers(refuses)
    with pytest.raises(OSError, match="no such cluster"):
        table.run(records(10), workers=Workers(no_cluster, processes=1, pool=Threads))


def no_cluster() -> Any:
    raise OSError("no such cluster")


def test_a_record_that_can_not_travel_ends_the_run() -> None:
    table = Table()
    with pytest.raises(InputError, match=r"records 1 to 1 can't go to another process"):
        table.run([{"id": 1, "v": lambda: None}])


def test_latencies_come_with_the_portions() -> None:
    table, histogram = Table(), LatencyHistogram()
    assert table.run(records(3_000), observers=[histogram]).succeeded == 3_000
    assert histogram.count == 3_000
    assert 0 < histogram.percentile(50) <= histogram.percentile(100) < 60


def test_a_latency_that_is_noted_late_comes_with_its_portion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As observers are told after whoever waits for the result."""
    settled = Event()

    class Late(LatencyHistogram):
        def on_settled(self, details: StatementSettled) -> None:
            assert settled.wait(60)
            super().on_settled(details)

    class Settling(PortionLedger):
        def succeeded(self, indexes: Any) -> None:
            super().succeeded(indexes)
            settled.set()

    def answer() -> None:
        assert sent.wait(60)
        session.pending[0].succeed()

    def reply(statement: Any, parameters: Any) -> Reply:
        Thread(target=answer, daemon=True).start()
        return Reply()

    class Told(Stamping):
        def send(self, request: Request) -> None:
            super().send(request)
            sent.set()

    sent = Event()
    monkeypatch.setattr(worker, "LatencyHistogram", Late)
    monkeypatch.setattr(worker, "PortionLedger", Settling)
    session = Told(reply)
    insert = session.as_prepared(INSERT, {"id": Int32Type, "v": UTF8Type}, partition_key=["id"])
    histogram = LatencyHistogram()
    workers = Workers(Here(session), processes=1, pool=Threads)
    run(session, insert, records(1), workers=workers, retry=None, observers=[histogram])
    assert histogram.count == 1


def test_options_that_are_wrong_are_refused() -> None:
    table = Table()
    for name, value, error in [
        ("workers", 3, "workers must be Workers"),
        ("observers", [object()], "observers"),
        ("concurrency", object(), "concurrency"),
        ("concurrency", 0, "concurrency must be at least 1"),
        ("concurrency", 2, "among 3 processes, .* let it be more, or have 2 processes at most"),
        ("retry", Retry(random=lambda: 0.5), "retry must be picklable"),
    ]:
        with pytest.raises((TypeError, ValueError), match=error):
            table.run(records(1), **{name: value})
    shards = Shards.of_files(["a.csv"])
    with pytest.raises(ValueError, match="give workers"):
        table.run(shards, workers=None)
    with pytest.raises(ValueError, match="limit"):
        table.run(shards, limit=3)
    with pytest.raises(InputError, match="at least one"):
        Shards.of_files([])


class Watched(str):
    """A text that weak references can be made to."""


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What only the collector can free stays: a long run of the command makes it look seldom."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_records_that_are_settled_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_AT_ONCE", 100)
    monkeypatch.setattr(spreading, "MOST", 100)
    monkeypatch.setattr(spreading, "AHEAD", 1)
    read: list[ref[Watched]] = []
    alive: list[int] = []

    def texts() -> Iterator[dict[str, Any]]:
        for n in range(3_000):
            if n % 100 == 0:
                alive.append(sum(each() is not None for each in read))
            text = Watched(f"value {n}")
            read.append(ref(text))
            yield {"id": n, "v": text}

    table = Table()
    workers = table.workers(partial(ThreadPoolExecutor, 1), processes=1)
    assert table.run(texts(), workers=workers).succeeded == 3_000
    # Of a hundred each: the first chunk, which was looked at, the last one that was read, two
    # portions that the worker has, and the one that it had before.
    assert max(alive) <= 501


def test_a_portion_of_large_records_has_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def do(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        sizes.append(sum(chunk.count for chunk in pickle.loads(portion).chunks))
        return do_portion(task, portion, shard)

    monkeypatch.setattr(spreading, "do_portion", do)
    monkeypatch.setattr(spreading, "LARGE", 100_000)
    monkeypatch.setattr(sources, "_AT_ONCE", 1)
    given = ({"id": n, "v": "x" * 30_000} for n in range(40))
    assert Table().run(given).succeeded == 40
    assert max(sizes) <= 4
    assert sum(sizes) == 40


# ---- shards ----


@pytest.mark.parametrize("sizes", [(2_500, 0, 1, 3_000, 300), (1_024,) * 9])
def test_files_that_workers_read(
    sizes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "MOST", 1_024)
    table = Table(lambda key: InvalidRequest("no") if key % 1000 == 7 else None)
    first, paths = 0, []
    for number, size in enumerate(sizes):
        paths.append(csv_of(tmp_path / f"{number}.csv", range(first, first + size)))
        first += size
    with (tmp_path / "0.csv").open("a") as file:
        file.write("ragged\n")
    report = table.run(
        Shards.of_files(paths), failed_file=tmp_path / "failed", checkpoint=tmp_path / "journal"
    )
    bad = set(range(7, first, 1000))
    assert table.written == Counter(set(range(first)) - bad)
    assert (report.succeeded, report.failed, report.rejected) == (first - len(bad), len(bad), 1)
    entry = entry_at(tmp_path / "journal")
    assert entry is not None
    assert (entry.finished, entry.beyond) == (True, ())


@pytest.mark.parametrize("idempotent", [True, False])
def test_shards_of_a_lost_worker(
    idempotent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "MOST", 1_024)
    table = Table()
    paths = [csv_of(tmp_path / f"{n}.csv", range(n * 2_500, n * 2_500 + 2_500)) for n in range(4)]
    report = table.run(
        Shards.of_files(paths),
        workers=table.workers(partial(Dies, ["before", "after", "after"])),
        idempotent=idempotent,
        failed_file=tmp_path / "failed",
    )
    assert report.records == 10_000
    if idempotent:
        assert report.succeeded == 10_000
        assert set(table.written) == set(range(10_000))
    else:
        lost = {int(line["record"]["id"]) for line in lines(tmp_path / "failed")}
        assert report.failed == len(lost) > 0
        assert max(table.written.values()) == 1
        assert set(table.written) | lost == set(range(10_000))


@pytest.mark.parametrize("most", [70, 150])
def test_a_portion_of_large_records_is_of_some_chunks_also_when_it_is_done_again(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_lines, "BLOCK", 1024)
    monkeypatch.setattr(worker, "CHUNKS", 2)
    monkeypatch.setattr(spreading, "MOST", most)
    ends: dict[int, list[int]] = {}

    def do_twice(task: bytes, portion: bytes, shard: Any) -> PortionReply:
        what, reply = do_portion(task, portion, shard)
        first = pickle.loads(portion).first
        ends.setdefault(first, []).append(pickle.loads(reply).end)
        if len(ends[first]) == 1:
            raise BrokenExecutor("killed")
        return what, reply

    monkeypatch.setattr(spreading, "do_portion", do_twice)
    table = Table()
    path = tmp_path / "large.csv"
    path.write_text("id,v\n" + "".join(f"{key},{'x' * (key % 40)}\n" for key in range(1_500)))
    report = table.run(Shards.of_files([str(path)]), idempotent=True)
    assert report.succeeded == 1_500
    assert set(table.written) == set(range(1_500))
    assert all(one == other for one, other in ends.values())
    sizes = {end - first for first, (end, _) in ends.items()}
    assert max(sizes) <= min(most, 100)  # of 2,048 bytes, though the first ones are small
    assert len(sizes) > 3


def test_shards_are_resumed_and_a_missing_one_ends_the_run(tmp_path: Path) -> None:
    table = Table()
    paths = [csv_of(tmp_path / f"{n}.csv", range(n * 2_500, n * 2_500 + 2_500)) for n in range(4)]
    moved = tmp_path / "moved"
    Path(paths[2]).rename(moved)
    options: dict[str, Any] = {"checkpoint": tmp_path / "journal", "idempotent": True}
    with pytest.raises(InputError, match=r"2\.csv"):
        table.run(Shards.of_files(paths), **options)
    moved.rename(paths[2])
    before = sum(table.written.values())
    assert before > 0
    report = table.run(Shards.of_files(paths), resume=True, **options)
    assert (report.ended, report.succeeded) == ("finished", 10_000)
    assert table.written == Counter(range(10_000))


class Part(list[dict[str, Any]]):
    """Records that a process has; `written` is what had been when they were let go."""

    def __init__(self, table: Table, first: int, count: int) -> None:
        super().__init__(records(count, first))
        self.written: Counter[int] | None = None
        self._table = table

    def let_go(self) -> None:
        assert self.written is None
        self.written = Counter(self._table.written)


def test_a_shard_is_let_go_as_soon_as_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "MOST", 100)
    table = Table()
    parts = [Part(table, n * 300, 300) for n in range(6)]
    workers = table.workers(partial(ThreadPoolExecutor, 1), processes=1)
    report = table.run(Shards(parts, list("abcdef")), workers=workers)
    assert report.succeeded == 1_800
    for part in parts:
        assert part.written is not None
        assert part.written.keys() >= {record["id"] for record in part}
    # One process does two at a time, and has two portions.
    assert [part.written.total() < 1_500 for part in parts[:4] if part.written] == [True] * 4


def test_rows_of_shards_come_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "MOST", 700)
    session = ScriptedSession(
        lambda statement, parameters: Reply(rows=[(f"value {parameters[0]}",)], at_once=True)
    )
    select = select_of(session)
    paths = []
    for number in range(7):
        path = tmp_path / f"{number}.csv"
        path.write_text("id\n" + "".join(f"{number * 900 + n}\n" for n in range(900)))
        paths.append(str(path))
    run(
        session,
        select,
        Shards.of_files(paths),
        workers=Workers(Here(session), processes=3, pool=Threads),
        output=tmp_path / "rows.csv",
    )
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert rows == ["v", *(f"value {n}" for n in range(6_300))]
