"""The programs of examples/ on a real Cassandra. The service has tests of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.connect import ConnectionOptions
from demo.data import MISSING, read_flights
from examples import back_fill, compare, delete_listed, flights, load_csv
from tests.conftest import OWN_CLUSTER, PROOF, REQUEST_TIMEOUT

pytestmark = pytest.mark.cluster

FLIGHTS = 336_776 if PROOF else 3_000

Line = Callable[[], str]


@pytest.fixture
def line(
    session: Any,
    cassandra: ConnectionOptions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Line]:
    """What returns the one line that a program has said since; it finds the tests' Cassandra."""
    if not OWN_CLUSTER:
        where = f"{cassandra.contact_points[0]}:{cassandra.port}"
        monkeypatch.setenv("CONCURRENT_EXEC_CONTACT_POINTS", where)
    monkeypatch.chdir(tmp_path)

    def the_line() -> str:
        (said,) = capsys.readouterr().out.splitlines()
        return str(said)

    yield the_line
    session.execute(f"DROP KEYSPACE IF EXISTS {flights.KEYSPACE}", timeout=REQUEST_TIMEOUT)


def rows(session: Any, columns: str, table: str = flights.TABLE) -> list[Any]:
    return list(session.execute(f"SELECT {columns} FROM {table}", timeout=REQUEST_TIMEOUT))


def test_load_csv(line: Line, session: Any) -> None:
    load_csv.main(FLIGHTS)
    assert re.fullmatch(rf"{FLIGHTS:,} flights loaded at [\d,]+/s, 0 failed", line())
    found = {tuple(row[:-1]): row[-1] for row in rows(session, f"{', '.join(flights.KEY)}, dest")}
    assert found == {flights.key_of(each): each.dest for each in read_flights(FLIGHTS)}


def test_back_fill_goes_on_where_it_was_stopped(
    line: Line, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flights.fill_table(session, FLIGHTS)
    noted: list[int] = []
    note = back_fill.note

    def stop_after_a_few(journal: Path, number: int) -> None:
        note(journal, number)
        noted.append(number)
        if len(noted) == back_fill.RANGES // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(back_fill, "note", stop_after_a_few)
    with pytest.raises(KeyboardInterrupt):
        back_fill.main()
    first = sum(row.late is not None for row in rows(session, "late"))
    assert 0 < first < FLIGHTS

    back_fill.main()
    (again,) = re.fullmatch(r"([\d,]+) rows filled, .*", line()).groups()  # type: ignore[union-attr]
    # What was noted is not written again.
    assert sorted(noted) == list(range(back_fill.RANGES))
    assert FLIGHTS - first <= int(again.replace(",", "")) < FLIGHTS
    found = rows(session, "late, arr_delay")
    assert len(found) == FLIGHTS
    assert all(row.late == (row.arr_delay is not None and row.arr_delay > 15) for row in found)


def test_delete_listed(line: Line, session: Any) -> None:
    flights.fill_table(session, FLIGHTS)
    gone = {flights.key_of(each) for each in read_flights(FLIGHTS) if each.dep_time == MISSING}
    assert gone
    delete_listed.main(FLIGHTS)
    said = f"{len(gone):,} cancelled flights archived and deleted, 0 statements failed"
    assert line() == said
    columns = ", ".join(flights.KEY)
    assert {tuple(row) for row in rows(session, columns, delete_listed.ARCHIVE)} == gone
    kept = {flights.key_of(each) for each in read_flights(FLIGHTS)} - gone
    assert {tuple(row) for row in rows(session, columns)} == kept


def test_compare(line: Line, session: Any) -> None:
    flights.fill_table(session, FLIGHTS)
    compare.main(200, 1)
    assert re.fullmatch(r"200 of 200 flights read by \w+ at \d+", line())
