"""The scripts in perf, each at a tiny size on the server that answers at once; and that server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cassandra import InvalidRequest
from cassandra.query import BatchStatement

from concurrent_exec.connect import ConnectionOptions, connect
from perf import (
    converting,
    growth,
    heartbeat,
    hotspots,
    memory,
    processes,
    results,
    scheduling,
    service,
    strategies,
)
from perf.servers import KEYSPACE, Server, a_session
from perf.void_server import VoidServer
from perf.ways import WAYS
from perf.workloads import KINDS, Bound

ROOT = Path(__file__).parents[1]


def run(script: str, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run it as `make perf` does, small; return the rows that it has written."""
    done = subprocess.run(
        [sys.executable, "-m", f"perf.{script}", "--quick", f"--folder={folder}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    if script == "report":
        return []
    document = results.load(script, results.driver(), folder)
    assert document is not None
    assert document["versions"][results.driver()]
    assert document["machine"]["cores"] == os.cpu_count()
    found: list[dict[str, Any]] = document["rows"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all scripts of this run write to."""
    return tmp_path_factory.mktemp("perf")


@pytest.mark.cluster
def test_loaders_lose_nothing(folder: Path, cassandra: ConnectionOptions) -> None:
    names = "drivers' helper and csv", "concurrent-exec run"
    node = f"{cassandra.contact_points[0]}:{cassandra.port}"
    chosen = [f"--loader={name}" for name in names]
    rows = run("loaders", folder, "--records=200", f"--contact-points={node}", *chosen)
    assert [(row["way"], row["file"], row["records"]) for row in rows] == [
        (name, *file)
        for file in (("key_values", 200), ("key_values", 40), ("flights", 1000))
        for name in names
    ]
    for row in rows:
        assert row["lost"] == 0
        assert row["peak_mib"][0] > 10


def test_every_way_does_every_workload(folder: Path) -> None:
    rows = run("strategies", folder, "--server=void", "--statements=20", "--rounds=1")
    measured = {(row["workload"], row["value_bytes"], row["concurrency"]) for row in rows}
    assert measured == {
        (line.workload.name, line.workload.value_bytes, line.concurrency)
        for line in strategies.lines(quick=True)
    }
    for row in rows:
        assert row["failed"] == 0
        assert row["cpu_us"][0] > 0
        assert row["server_busy"] >= 0
    whole = [row["way"] for row in rows if row["workload"] == "read 1"]
    assert whole == list(WAYS)


def test_every_way_is_measured_for_the_goals(folder: Path) -> None:
    rows = run("goals", folder, "--server=void", "--statements=20", "--rounds=1")
    assert [row["way"] for row in rows] == list(WAYS)
    assert all(row["failed"] == 0 and row["statements"] == 19 for row in rows)


def test_memory_of_each_case(folder: Path) -> None:
    rows = run("memory", folder, "--statements=200")
    assert [(row["way"], row["reader"] == "stops") for row in rows] == list(memory.CASES)
    for row in rows:
        assert (row["read"], row["failure"]) == (200, "")
        assert row["peak_mib"] > 10


def test_growth_with_statements_and_columns(folder: Path) -> None:
    rows = run("growth", folder, "--most=100", "--rounds=1")
    assert {row["way"] for row in rows} == set(growth.GROWING)
    for over, ends in (("columns", growth.COLUMNS), ("rows", growth.ROWS)):
        assert {row[over] for row in rows if row["over"] == over} == {ends[0], ends[-1]}
    assert all(row["failed"] == 0 for row in rows)


def test_cost_by_worker_processes(folder: Path) -> None:
    rows = run("processes", folder, "--statements=200", "--rounds=1")
    assert [row["way"] for row in rows] == [
        *processes.IN_PROCESS,
        "ProcessExecutor, 1",
        "bulk.run",
        "bulk.run, 1",
        "ProcessExecutor, 1",
    ]
    for row in rows:
        assert row["rate"][0] > 0


def test_cost_of_tasks_of_dask(folder: Path) -> None:
    rows = run("scheduling", folder)
    assert [row["bytes"] for row in rows] == list(scheduling.SIZES)
    assert all(row["seconds_ms"][0] > 0 for row in rows)


def test_hotspots_of_each_way(folder: Path) -> None:
    rows = run("hotspots", folder, "--statements=1500")
    assert [(row["way"], row["workload"]) for row in rows] == list(hotspots.QUICK)
    for row in rows:
        assert row["samples"] > 0
        assert sum(row["shares"].values()) == pytest.approx(1, abs=0.01)
        assert row["shares"]["driver"] > 0


def test_stalls_of_each_way(folder: Path) -> None:
    rows = run("heartbeat", folder)
    assert {row["way"] for row in rows} == set(heartbeat.WAYS)
    assert all(row["longest_ms"][0] >= row["p99_ms"][0] for row in rows)


def test_a_service_in_each_way(folder: Path) -> None:
    rows = run("service", folder, "--clients=2")
    assert [row["way"] for row in rows] == list(service.WAYS)
    for row in rows:
        assert row["p99_ms"][0] >= row["p50_ms"][0] > 0
        assert row["rate"][0] > 0


def test_converting_beside_the_plain_loop(folder: Path) -> None:
    rows = run("converting", folder, "--records=500", "--rounds=1")
    assert [(row["file"], row["columns"], row["way"]) for row in rows] == [
        (file, columns, way)
        for file, columns in (("number and text", 2), ("two texts", 2), ("flights", 19))
        for way in converting.WAYS
    ]
    assert all(row["records"] == 500 and row["cpu_us"][0] > 0 for row in rows)


def test_report_draws_and_tabulates_all_that(folder: Path) -> None:
    # Behind the others, whose results it takes; alone it would have none to report.
    missing = {"strategies", "memory", "growth", "hotspots"} - {
        file.name.partition("-")[0] for file in folder.glob("*.json")
    }
    assert not missing, f"run with the tests of {missing}"
    run("report", folder)
    pictures = {file.stem for file in folder.glob("*.svg")}
    of_driver = f"concurrency-{results.driver().removesuffix('-driver')}"
    assert pictures == {"ways", of_driver, "memory", "growth", "hotspots"}


def test_samples_are_put_down_to_the_innermost_owner() -> None:
    run_it = "play (perf/ways.py:9);"
    raw = f"""\
<module> (x.py:1);_find_and_load (<frozen>);work (cassandra/query.py:1) 100
{run_it}send (concurrent_exec/run/run.py:3);0x1 (cassandra/cluster.so);gc_collect_main (lib.so) 1
{run_it}send (concurrent_exec/run/run.py:3);0x1 (cassandra/cluster.so);wait (threading.py:1) 2
{run_it}put (concurrent_exec/sink/sink.py:3);append (lib.so) 4
{run_it}0x1 (cassandra/x.so);Condition.wait (threading.py:1);PyThread_acquire_lock_timed (l.so) 8
Thread._bootstrap (threading.py:2);0x1 (cassandra/x.so);sock_send (socketmodule.c:1);send (l) 16
"""
    assert hotspots.count_samples(raw) == {
        "garbage collection": 1,
        "driver": 2,
        "ours: sink": 4,
        "waiting": 8,
        "sockets": 16,
    }


# --- the void server ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def void() -> Iterator[VoidServer]:
    with VoidServer() as server:
        with a_session(Server("void", server.options())):
            pass  # which makes the keyspace
        yield server


@pytest.fixture(scope="module", params=[3, 4, 5])
def session(void: VoidServer, request: pytest.FixtureRequest) -> Iterator[Any]:
    with connect(void.options(), compression=False, protocol_version=request.param) as connected:
        connected.execute(f"DROP TABLE IF EXISTS {KEYSPACE}.made")
        connected.execute(
            f"CREATE TABLE {KEYSPACE}.made (a int, b bigint, c text, d text STATIC, "
            "e list<int>, f boolean, PRIMARY KEY ((a, b), c)) WITH comment = 'x, y'"
        )
        yield connected


def test_the_driver_learns_the_schema_from_the_void_server(session: Any) -> None:
    made = session.cluster.metadata.keyspaces[KEYSPACE].tables["made"]
    assert [column.name for column in made.partition_key] == ["a", "b"]
    assert [column.name for column in made.clustering_key] == ["c"]
    types = {name: column.cql_type for name, column in made.columns.items()}
    assert types["e"] == "list<int>"
    replicas = session.cluster.metadata.get_replicas(KEYSPACE, b"key")
    assert [replica.address for replica in replicas] == ["127.0.0.1"]


def test_what_is_prepared_has_the_metadata_that_routing_needs(session: Any) -> None:
    insert = session.prepare(f"INSERT INTO {KEYSPACE}.made (c, b, a) VALUES (?, ?, ?) USING TTL ?")
    named = [(column.name, column.type.typename) for column in insert.column_metadata]
    assert named == [("c", "varchar"), ("b", "bigint"), ("a", "int"), ("[ttl]", "int")]
    assert insert.routing_key_indexes == [2, 1]
    update = session.prepare(f"UPDATE {KEYSPACE}.made SET f = ?, e=? WHERE a = ? AND b=? AND c = ?")
    assert [column.name for column in update.column_metadata] == ["f", "e", "a", "b", "c"]
    assert update.routing_key_indexes == [2, 3]


def test_the_key_is_told_to_a_driver_that_does_not_ask_for_the_schema(void: VoidServer) -> None:
    with connect(
        void.options(), compression=False, protocol_version=4, schema_metadata_enabled=False
    ) as session:
        bound = Bound(session, KINDS["write 50"](20))
        assert bound.statement.routing_key_indexes == [0]


def test_reads_get_the_row_that_was_written_first(session: Any) -> None:
    session.execute(f"TRUNCATE {KEYSPACE}.made")
    select = session.prepare(f"SELECT c, f, a FROM {KEYSPACE}.made WHERE a = ? AND b = ? LIMIT 3")
    assert list(session.execute(select, (1, 2))) == [("", False, 0)] * 3
    insert = session.prepare(f"INSERT INTO {KEYSPACE}.made (a, b, c) VALUES (?, ?, ?)")
    for text in ("first" * 50_000, "second"):  # longer than a segment of protocol v5
        assert session.execute(insert, (7, 8, text)).one() is None
    assert list(session.execute(select, (1, 2))) == [("first" * 50_000, None, 7)] * 3
    row = session.execute(f"SELECT * FROM {KEYSPACE}.made WHERE a = 1").one()
    assert (row.a, row.b, row.f) == (7, 8, None)


def test_a_batch_gets_no_more_than_done(session: Any) -> None:
    insert = session.prepare(f"INSERT INTO {KEYSPACE}.made (a, b, c) VALUES (?, ?, ?)")
    batch = BatchStatement()
    for number in range(3):
        batch.add(insert, (number, number, "text"))
    assert list(session.execute(batch)) == []


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("INSERT INTO perf.made (a, b, c) VALUES (1, 2, 'x') IF NOT EXISTS", "no condition"),
        ("SELECT a FROM perf.other", "perf.other does not exist"),
        ("SELECT count(*) FROM perf.made", "select columns only"),
        ("GRANT ALL ON perf.made TO me", "does not know this statement"),
        ("CREATE TABLE perf.odd (a int PRIMARY KEY, b frobnicate)", "frobnicate"),
    ],
)
def test_what_the_void_server_does_not_know_it_refuses(
    session: Any, statement: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says.replace("(", r"\(")):
        session.execute(statement)


def test_answers_wait_for_the_delay() -> None:
    with VoidServer(delay=0.2) as slow, a_session(Server("void", slow.options())) as session:
        bound = Bound(session, KINDS["write"](20))
        start = time.monotonic()
        for future in [session.execute_async(*pair) for pair in bound.pairs(20)]:
            assert future.result().one() is None
        assert time.monotonic() - start >= 0.2  # however slow the machine is
