"""The demo: its file, the way of a record to a row and back, and that its check can fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cassandra.query import UNSET_VALUE
from cassandra.util import Date

from concurrent_exec.connect import KEYS, PREFIX, ConnectionOptions, connect
from concurrent_exec.testing import Reply, ScriptedSession
from demo import command, data, job, measure, table
from demo.data import Flight

PROOF = os.environ.get("CONCURRENT_EXEC_PROOF") == "1"

ROOT = Path(__file__).parents[1]
ROWS = 700
SAMPLE = 70

FLIGHT = Flight(
    "2013", "1", "1", "517", "515", "2", "830", "819", "11", "UA", "1545", "N14228", "EWR", "IAH",
    "227", "1400", "5", "15", "2013-01-01T10:00:00Z",
)  # fmt: skip
CANCELLED = FLIGHT._replace(
    dep_time="NA", dep_delay="NA", arr_time="NA", arr_delay="NA", tailnum="NA", air_time="NA"
)


def row(flight: Flight, /, **changes: Any) -> list[Any]:
    """The row that a driver returns for a flight that was written, with `changes` made to it."""
    sent = dict(zip(table.COLUMNS, table.values(flight), strict=True))
    return [_returned(value) for value in (sent | changes).values()]


def _returned(value: Any) -> Any:
    if value is UNSET_VALUE:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return Date(value) if isinstance(value, date) else value


# ---- the file and the table ----


def test_every_record_has_a_key_of_its_own_and_comes_back_as_it_was() -> None:
    keys = set()
    total = 0
    for flight in data.read_flights():
        total += 1
        keys.add(table.key(flight))
        if total % 10 == 0 or PROOF:
            assert table.texts(row(flight)) == flight
    assert total == 336_776
    assert len(keys) == total


def test_the_partitions_are_as_large_as_the_documentation_says() -> None:
    sizes = job.partition_sizes(data.read_flights())
    assert (len(sizes), min(sizes.values()), max(sizes.values())) == (1095, 171, 377)


def test_values_have_real_types() -> None:
    values = dict(zip(table.COLUMNS, table.values(FLIGHT), strict=True))
    assert values["flight_date"] == date(2013, 1, 1)
    assert values["dep_delay"] == 2
    assert values["tailnum"] == "N14228"
    assert values["time_hour"] == datetime(2013, 1, 1, 10, tzinfo=UTC)


def test_what_is_missing_is_not_sent() -> None:
    values = dict(zip(table.COLUMNS, table.values(CANCELLED), strict=True))
    unset = {name for name, value in values.items() if value is UNSET_VALUE}
    assert unset == {"dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"}


def test_a_code_that_looks_like_a_missing_value_is_none_where_nothing_may_be_missing() -> None:
    assert "NA" in table.values(FLIGHT._replace(dest="NA"))


def test_the_file_is_read_only_as_far_as_it_is_asked_for() -> None:
    assert list(data.read_flights(1)) == [FLIGHT]


def test_a_sample_is_in_the_order_of_the_file_and_the_same_each_time() -> None:
    numbers = list(range(1000))

    def sample() -> list[Any]:
        return list(job.sample_of(iter(numbers), 1000, 100))  # type: ignore[arg-type]

    assert len(sample()) == 100
    assert sample() == sorted(sample())
    assert sample() != numbers[:100]


@pytest.mark.parametrize("content", [b"not a zip", None])
def test_a_file_that_can_not_be_read_is_said(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_folder", lambda: tmp_path)
    if content is not None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "flights.csv.zip").write_bytes(content)
    with pytest.raises(data.DataError, match=r"can't read .*flights\.csv\.zip"):
        next(data.read_flights())


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PACKAGE", "no_such_package")
    with pytest.raises(data.DataError, match=r"pip install 'concurrent-exec\[.*demo\]'"):
        next(data.read_flights())


# ---- the check can fail ----


def test_the_right_row_does_not_differ() -> None:
    assert table.difference(FLIGHT, [row(FLIGHT)]) is None
    assert table.difference(CANCELLED, [row(CANCELLED)]) is None


def _another(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value + timedelta(days=1)
    if isinstance(value, datetime):
        return value + timedelta(milliseconds=1)
    return value + 1 if isinstance(value, int) else value + "X"


@pytest.mark.parametrize("column", table.COLUMNS)
def test_a_wrong_value_is_noticed_in_every_column(column: str) -> None:
    right = dict(zip(table.COLUMNS, table.values(FLIGHT), strict=True))[column]
    found = table.difference(FLIGHT, [row(FLIGHT, **{column: _another(right)})])
    assert found is not None
    assert ("day is 2" if column == "flight_date" else f"{column} is ") in found


@pytest.mark.parametrize("column", sorted(set(table.COLUMNS) - {"flight_date"}))
def test_a_lost_value_is_noticed(column: str) -> None:
    found = table.difference(FLIGHT, [row(FLIGHT, **{column: None})])
    assert found is not None
    assert f"{column} is NA, in the file " in found


def test_a_value_where_the_file_has_none_is_noticed() -> None:
    found = table.difference(CANCELLED, [row(CANCELLED, dep_delay=0)])
    assert found == "EWR 2013-01-01 UA 1545: dep_delay is 0, in the file NA"


@pytest.mark.parametrize("rows", [[], [row(FLIGHT)] * 2])
def test_no_row_and_two_rows_are_noticed(rows: list[Any]) -> None:
    found = table.difference(FLIGHT, rows)
    assert found == f"EWR 2013-01-01 UA 1545: {len(rows)} rows instead of 1"


class TableSession(ScriptedSession):
    """Answers reads by key from rows in memory; `answer` says what comes for a flight's number."""

    def __init__(self, answer: Callable[[int], Reply]) -> None:
        super().__init__(lambda statement, parameters: answer(parameters[3]))

    def prepare(self, query: str, *, keyspace: str | None = None) -> Any:
        return query

    def execution_profile_clone_update(self, profile: Any, **changes: Any) -> Any:
        return profile


def _flights(count: int) -> list[Flight]:
    return [FLIGHT._replace(flight=str(number)) for number in range(count)]


@pytest.mark.parametrize("strategy", job.STRATEGIES)
def test_results_in_another_order_are_noticed(strategy: str) -> None:
    flights = _flights(10)
    swapped = {3: 7, 7: 3}
    session = TableSession(
        lambda number: Reply(rows=[row(flights[swapped.get(number, number)])], at_once=True)
    )
    phase = job.read(session, "k", iter(flights), 10, strategy)
    assert (phase.statements, phase.wrong, phase.failed) == (10, 2, 0)
    assert phase.complaints[0] == "EWR 2013-01-01 UA 3: flight is 7, in the file 3"


@pytest.mark.parametrize("strategy", job.STRATEGIES)
def test_what_failed_is_counted_and_does_not_shift_the_others(strategy: str) -> None:
    flights = _flights(10)

    def answer(number: int) -> Reply:
        if number == 4:
            return Reply(error=RuntimeError("no"), at_once=True)
        return Reply(rows=[row(flights[number])], at_once=True)

    phase = job.read(TableSession(answer), "k", iter(flights), 10, strategy)
    assert (phase.statements, phase.rows, phase.wrong, phase.failed) == (10, 9, 0, 1)
    assert phase.complaints == ["statement 4 failed: RuntimeError: no"]
    assert not phase.is_right


def test_a_cluster_that_refuses_everything_is_given_up() -> None:
    session = TableSession(lambda number: Reply(error=RuntimeError("no"), at_once=True))
    with pytest.raises(job.GivenUpError) as info:
        job.read(session, "k", iter(_flights(1000)), 1000, "callback")
    assert info.value.phase.statements == 100


# ---- what is measured ----


def test_percentiles_are_those_of_the_statements() -> None:
    phase = measure.Phase("callback", "read")
    phase.set_times(array("d", [number / 1000 for number in range(101)]))
    assert phase.p50_ms == pytest.approx(50)
    assert phase.p99_ms == pytest.approx(99)


# ---- the command line ----


def test_wrong_usage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--rows", "0"]) == 2
    assert command.run(["--keyspace", "a-b"]) == 2
    assert command.run(["--first-address", "192.0.2.1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "said"),
    [("127.0.0.1:1", "127.0.0.1:1: .*refused"), ("nowhere.invalid", "none of the contact points")],
)
def test_no_cluster_is_one_plain_line(
    where: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key in (*KEYS, "config"):
        monkeypatch.delenv(PREFIX + key.upper(), raising=False)
    assert command.run(["--rows", "1", "--contact-points", where]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(rf"flights\.py: error: can't connect: .*{said}.*\n", told)


def test_a_missing_library_is_one_plain_line(tmp_path: Path) -> None:
    # An interpreter without any site-packages has none of the extras.
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "demo" / "flights.py")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"flights\.py: error: .*: pip install '.*\[.*demo\]'\n", done.stderr)


# ---- on a real Cassandra ----


FEW = ["--rows", str(ROWS), "--sample", str(SAMPLE)]


@pytest.fixture
def arguments(cassandra: ConnectionOptions) -> list[str]:
    """What the demo is told to use: the Cassandra of this run, and a keyspace of its own."""
    options = ["--keyspace", f"demo_{uuid.uuid4().hex[:12]}"]
    if not any(os.environ.get(PREFIX + key.upper()) for key in (*KEYS, "config")):
        points = ",".join(f"{host}:{cassandra.port}" for host in cassandra.contact_points)
        options += ["--contact-points", points]
    return options


# A shell may have started the tests with SIGINT ignored, which children inherit.
_WITH_SIGINT = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextmanager
def _started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run the demo; if the block leaves it running, it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _WITH_SIGINT, str(ROOT / "demo" / "flights.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _keyspaces(options: ConnectionOptions) -> set[str]:
    with connect(options) as session:
        rows = session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
        return {name for (name,) in rows}


@pytest.mark.cluster
def test_the_demo_succeeds(cassandra: ConnectionOptions, arguments: list[str]) -> None:
    before = _keyspaces(cassandra)
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "demo" / "flights.py"), *arguments),
            *("--rows", "5000", "--sample", "500"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    *lines, verdict = done.stdout.splitlines()
    assert verdict.startswith(
        "5,000 rows loaded, 500 read twice, every value equal to the file's ("
    )
    cells = [line.split()[:4] for line in lines if line.startswith((" callback", " thread"))]
    assert [cell[:2] for cell in cells] == [
        ["callback", "load"],
        ["callback", "count"],
        ["callback", "read"],
        ["thread", "read"],
    ]
    assert [cell[2] for cell in cells if cell[1] != "count"] == ["5,000", "500", "500"]
    assert {cell[3] for cell in cells} == {"0"}
    assert "\r" not in done.stderr  # no bar where there is no terminal
    assert _keyspaces(cassandra) == before


def _change(statement: str) -> Callable[[Any, str, Flight], None]:
    def change(session: Any, keyspace: str, flight: Flight) -> None:
        origin, day, carrier, number = table.key(flight)
        where = "origin = %s AND flight_date = %s AND carrier = %s AND flight = %s"
        session.execute(
            statement.format(table=f"{keyspace}.{table.TABLE}", where=where),
            (origin, day, carrier, number),
        )

    return change


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE {table} SET dep_delay = 77 WHERE {where}", "dep_delay is 77, in the file "),
        ("DELETE FROM {table} WHERE {where}", "0 rows instead of 1"),
        ("DELETE tailnum FROM {table} WHERE {where}", "tailnum is NA, in the file "),
    ],
)
def test_a_changed_row_makes_the_demo_fail(
    statement: str,
    said: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load = job.load
    flight = next(job.sample_of(data.read_flights(ROWS), ROWS, SAMPLE))

    def load_and_change(session: Any, keyspace: str, *others: Any) -> Any:
        phase = load(session, keyspace, *others)
        _change(statement)(session, keyspace, flight)
        return phase

    monkeypatch.setattr(job, "load", load_and_change)
    assert command.run([*arguments, *FEW]) == 1
    told = capsys.readouterr().out
    assert told.count(said) == 2  # once for each strategy
    assert "failed: not everything is in the table as it is in the file" in told
    # Of the deleted one its partition tells too.
    assert ("count (callback)" in told) == (said == "0 rows instead of 1")


@pytest.mark.cluster
def test_a_row_too_many_makes_the_demo_fail(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = job.load

    def load_and_add(session: Any, keyspace: str, *others: Any) -> Any:
        phase = load(session, keyspace, *others)
        session.execute(
            f"INSERT INTO {keyspace}.{table.TABLE} (origin, flight_date, carrier, flight) "
            "VALUES ('XXX', '2013-01-01', 'UA', 1)"
        )
        return phase

    monkeypatch.setattr(job, "load", load_and_add)
    assert command.run([*arguments, *FEW]) == 1
    assert "partition XXX 2013-01-01: rows are 1, in the file 0" in capsys.readouterr().out


@pytest.mark.cluster
def test_a_keyspace_of_somebody_else_is_left_alone(
    cassandra: ConnectionOptions,
    keyspace: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run([*arguments, *FEW, "--keyspace", keyspace]) == 1
    assert f"the keyspace {keyspace} is there already" in capsys.readouterr().err
    assert keyspace in _keyspaces(cassandra)


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(
    number: signal.Signals, cassandra: ConnectionOptions, arguments: list[str]
) -> None:
    before = _keyspaces(cassandra)
    with _started(arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("loading"):
                break
        time.sleep(1)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert _keyspaces(cassandra) == before
