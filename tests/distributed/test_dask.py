"""Dask: a real scheduler and real worker processes, on the real Cassandra, one of them killed."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec import ProcessExecutor, Retry, WorkerLostError
from concurrent_exec.bulk import spreading
from concurrent_exec.connect import ConnectionOptions, connect
from concurrent_exec.distributed import DaskError, pool_on, shards_of, workers_on
from concurrent_exec.distributed import run as run_on_dask
from concurrent_exec.executors.dask_pool import Crew, DaskPool, WorkerGoneError
from tests.bulk.conftest import Run
from tests.conftest import PROOF
from tests.distributed.cluster import DaskCluster, dask_cluster
from tests.integration.support import Rows, make_table

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600 if PROOF else 120)]

COUNT = 200_000 if PROOF else 4_000
PORTION = 5_000 if PROOF else 250


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as started:
        yield started


@pytest.fixture(autouse=True)
def two_workers(dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    dask.complete(2)
    monkeypatch.setattr(spreading, "FIRST", PORTION)
    monkeypatch.setattr(spreading, "MOST", PORTION)


@pytest.fixture
def there(cassandra: ConnectionOptions, keyspace: str) -> Any:
    return partial(connect, cassandra, keyspace=keyspace)


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str) -> str:
    return make_table(session, keyspace, "dask")


@pytest.fixture(scope="module")
def lists(session: Any, keyspace: str) -> str:
    name = f"{keyspace}.dask_lists"
    session.execute(
        f"CREATE TABLE {name} (run uuid, key int, value list<int>, PRIMARY KEY (run, key))"
    )
    return name


@pytest.fixture
def rows(session: Any, table: str) -> Rows:
    return Rows(session, table)


@pytest.fixture
def insert(table: str) -> str:
    return f"INSERT INTO {table} (run, key, value) VALUES (:run, :key, :value)"


@pytest.fixture
def kill(dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kills a worker when it has been given its third task; returns the addresses of the killed."""
    submit, pids = DaskPool.submit, dask.pids()
    given: dict[str, int] = {}
    killed: list[str] = []

    def submit_and_kill(pool: DaskPool, *arguments: Any, **named: Any) -> Any:
        future = submit(pool, *arguments, **named)
        given[pool.address] = given.get(pool.address, 0) + 1
        if given[pool.address] == 3 and not killed:
            killed.append(pool.address)
            os.kill(pids[pool.address], signal.SIGKILL)
        return future

    monkeypatch.setattr(DaskPool, "submit", submit_and_kill)
    return killed


def records(rows: Rows, count: int = COUNT, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"run": rows.run, "key": key, "value": f"value {key}"}
        for key in range(first, first + count)
    ]


def wanted(count: int = COUNT) -> dict[int, str]:
    return {key: f"value {key}" for key in range(count)}


def files(folder: Path, rows: Rows, number: int) -> list[str]:
    paths = []
    for part in range(number):
        paths.append(str(folder / f"{part}.csv"))
        with open(paths[-1], "w", newline="") as file:
            writer = csv.DictWriter(file, ["run", "key", "value"])
            writer.writeheader()
            writer.writerows(records(rows)[part::number])
    return paths


def failed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---- what is read here ----


def test_a_killed_worker_leaves_nothing_out(
    dask: DaskCluster, there: Any, rows: Rows, insert: str, kill: list[str], tmp_path: Path
) -> None:
    report = run_on_dask(
        dask.client, there, insert, records(rows), failed_file=tmp_path / "failed", idempotent=True
    )
    assert kill
    assert (report.succeeded, report.failed, report.rejected) == (COUNT, 0, 0)
    assert rows.written() == wanted()


def test_what_is_not_idempotent_is_never_sent_twice(
    dask: DaskCluster,
    session: Any,
    there: Any,
    rows: Rows,
    lists: str,
    kill: list[str],
    tmp_path: Path,
) -> None:
    """Dask itself would run the portions of the killed worker again."""
    append = f"UPDATE {lists} SET value = value + :value WHERE run = :run AND key = :key"
    given = [{"run": rows.run, "key": key, "value": [key]} for key in range(COUNT)]
    report = run_on_dask(dask.client, there, append, given, failed_file=tmp_path / "failed")
    assert kill
    lost = failed(tmp_path / "failed")
    assert {line["error"] for line in lost} == {"WorkerLostError"}
    assert report.failed == len(lost)
    assert report.succeeded == COUNT - len(lost)
    written = appended(session, lists, rows)
    assert set(map(tuple, written.values())) == {(key,) for key in written}
    assert set(range(COUNT)) - set(written) <= {line["record"]["key"] for line in lost}


def appended(session: Any, lists: str, rows: Rows) -> dict[int, list[int]]:
    found = session.execute(f"SELECT key, value FROM {lists} WHERE run = %s", (rows.run,))
    return {row.key: row.value for row in found}


def test_of_records_of_one_row_the_last_counts(
    dask: DaskCluster, there: Any, rows: Rows, insert: str, kill: list[str]
) -> None:
    """Whichever worker sends it, and when."""
    given = [
        {"run": rows.run, "key": number % 10, "value": f"value {number}"} for number in range(COUNT)
    ]
    report = run_on_dask(dask.client, there, insert, given, idempotent=True)
    assert kill
    assert report.succeeded == COUNT
    assert rows.written() == {key: f"value {COUNT - 10 + key}" for key in range(10)}


# ---- what workers read ----


def test_files_that_each_worker_reads(
    dask: DaskCluster, there: Any, rows: Rows, insert: str, kill: list[str], tmp_path: Path
) -> None:
    paths = files(tmp_path, rows, 5)
    with open(paths[1], "a") as file:
        file.write("ragged\n")
    report = run_on_dask(
        dask.client,
        there,
        insert,
        paths,
        idempotent=True,
        failed_file=tmp_path / "failed",
        checkpoint=tmp_path / "journal",
    )
    assert kill
    assert (report.succeeded, report.failed, report.rejected) == (COUNT, 0, 1)
    assert rows.written() == wanted()
    (line,) = failed(tmp_path / "failed")
    assert (line["source"], line["record"]) == (paths[1], ["ragged"])


@pytest.mark.parametrize("kind", ["bag", "dataframe"])
def test_partitions_of_a_collection(
    kind: str, dask: DaskCluster, there: Any, rows: Rows, insert: str
) -> None:
    given = [{**each, "run": str(each["run"])} for each in records(rows, COUNT // 2)]
    if kind == "bag":
        from dask import bag

        given = [{**each, "run": rows.run} for each in given]
        collection = bag.from_sequence(given, npartitions=5)
    else:
        import pandas
        from dask import dataframe

        frame = pandas.DataFrame(given)
        collection = dataframe.from_pandas(frame, npartitions=5)
    report = run_on_dask(dask.client, there, insert, collection)
    assert (report.succeeded, report.failed, report.rejected) == (COUNT // 2, 0, 0)
    assert rows.written() == wanted(COUNT // 2)


# ---- ProcessExecutor ----


@pytest.mark.parametrize("way", ["get_executor", "pool_on"])
def test_statements_of_an_executor_over_dask(
    way: str,
    dask: DaskCluster,
    session: Any,
    there: Any,
    rows: Rows,
    lists: str,
    kill: list[str],
) -> None:
    pool = dask.client.get_executor if way == "get_executor" else pool_on(dask.client)
    append = session.prepare(f"UPDATE {lists} SET value = value + ? WHERE run = ? AND key = ?")
    count = COUNT // 2
    with ProcessExecutor(there, processes=2, pool=pool, chunksize=50, concurrency=200) as executor:
        results = list(
            executor.map(
                append,
                [([key], rows.run, key) for key in range(count)],
                raise_on_first_error=False,
                retry=Retry(),
            )
        )
    assert kill
    lost = {key for key, result in enumerate(results) if not result.success}
    assert {type(results[key].result_or_exc) for key in lost} == {WorkerLostError}
    assert len(lost) <= 200
    written = appended(session, lists, rows)
    assert set(map(tuple, written.values())) == {(key,) for key in written}
    assert set(range(count)) - set(written) <= lost


def test_a_process_that_is_started_anew_is_another(dask: DaskCluster) -> None:
    """Dask would run there what it had bound to that address."""
    address = min(dask.pids())
    pool = DaskPool(dask.client, address, "the one before")
    with pytest.raises(WorkerGoneError, match="started anew"):
        pool.submit(os.kill, dask.pids()[address], signal.SIGKILL).result(60)
    assert address in dask.pids()
    with pytest.raises(WorkerGoneError):
        pool.submit(os.getpid)


# ---- workers that lack this package ----


@pytest.fixture
def lacking(dask: DaskCluster) -> Iterator[str]:
    with dask.one_more_without_us() as address:
        yield address


def test_workers_without_this_package_are_named_at_once(dask: DaskCluster, lacking: str) -> None:
    missing = f"the worker at {lacking}: No module named 'concurrent_exec'"
    for take in (partial(workers_on, dask.client, connect), partial(pool_on, dask.client)):
        with pytest.raises(DaskError, match=missing):
            take()
    with (
        ProcessExecutor(connect, processes=3, pool=dask.client.get_executor) as executor,
        pytest.raises(DaskError, match=missing),
    ):
        executor.map("an insert", [(1,)], retry=Retry()).all()


def test_one_that_comes_later_is_passed_over(
    dask: DaskCluster, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(dask.client)
    others = set(crew.addresses()) - {lacking}
    monkeypatch.setattr(crew, "addresses", lambda: [lacking, *others])
    taken = [crew.take(), crew.take()]
    assert {pool.address for pool in taken} == others
    with pytest.raises(WorkerGoneError, match="No module named 'concurrent_exec'"):
        crew.take()


# ---- the command ----


def test_the_command(
    run: Run, dask: DaskCluster, rows: Rows, insert: str, kill: list[str], tmp_path: Path
) -> None:
    files(tmp_path, rows, 1)
    status, _, err = run(insert, "0.csv", "--dask", dask.address)
    assert kill
    assert status == 0, err
    assert f"{COUNT:,} records: {COUNT:,} done" in err
    assert rows.written() == wanted()


def test_the_command_says_that_nobody_is_there(
    run: Run, insert: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concurrent_exec.distributed.cluster.PATIENCE", 0.5)
    files(tmp_path, rows, 1)
    status, _, err = run(insert, "0.csv", "--dask", "tcp://127.0.0.1:1")
    assert status == 2
    assert "no scheduler of Dask at tcp://127.0.0.1:1" in err


class Deserted:
    """What a client says of a cluster that has no workers yet, or any more."""

    def nthreads(self) -> dict[str, int]:
        return {}


def test_a_cluster_without_workers_is_refused() -> None:
    with pytest.raises(DaskError, match="has no workers: start some with `dask worker`"):
        workers_on(Deserted(), connect)
    with pytest.raises(DaskError, match="has no workers"):
        pool_on(Deserted())


def test_the_command_says_what_is_missing_where(
    run: Run, dask: DaskCluster, lacking: str, insert: str, rows: Rows, tmp_path: Path
) -> None:
    files(tmp_path, rows, 1)
    status, _, err = run(insert, "0.csv", "--dask", dask.address)
    assert status == 2
    assert f"the worker at {lacking}: No module named 'concurrent_exec'" in err
    assert not rows.written()


def test_what_is_no_collection_is_refused(dask: DaskCluster, there: Any) -> None:
    with pytest.raises(TypeError, match="bag or dataframe"):
        shards_of([1])
    assert workers_on(dask.client, there).processes == 2
