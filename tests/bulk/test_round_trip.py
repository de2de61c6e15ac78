"""Rows of every type are put out, and taken in again as they were."""

from __future__ import annotations

from typing import Any

import pytest

from concurrent_exec.bulk import open_source, run
from tests.integration.test_types import SAMPLES, plain

pytestmark = pytest.mark.cluster

ROWS = max(map(len, SAMPLES.values()))
NAMES = {kind: f"v{number}" for number, kind in enumerate(SAMPLES)}


@pytest.fixture(scope="module")
def tables(session: Any, keyspace: str) -> tuple[str, str]:
    """Two tables with a column of each type, the first of which has rows."""
    session.execute(f"CREATE TYPE IF NOT EXISTS {keyspace}.address (street text, number int)")
    columns = ", ".join(f"{name} {kind}" for kind, name in NAMES.items())
    names = [f"{keyspace}.put_out", f"{keyspace}.taken_in"]
    for name in names:
        session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, {columns})")
    markers = ", ".join("?" for _ in NAMES)
    insert = session.prepare(
        f"INSERT INTO {names[0]} (id, {', '.join(NAMES.values())}) VALUES (?, {markers})"
    )
    for row in range(ROWS):
        values = [samples[row] if row < len(samples) else None for samples in SAMPLES.values()]
        session.execute(insert, [row, *values])
    return names[0], names[1]


def rows_of(session: Any, table: str) -> dict[str, dict[int, Any]]:
    """Return by type the values by id."""
    rows = session.execute(f"SELECT * FROM {table}")
    found = {row.id: row for row in rows}
    return {
        kind: {id: plain(getattr(row, name)) for id, row in found.items()}
        for kind, name in NAMES.items()
    }


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_every_type(form: str, session: Any, tables: tuple[str, str], tmp_path: Any) -> None:
    first, second = tables
    output = tmp_path / f"rows.{form}"
    keys = [{"id": row} for row in range(ROWS)]
    report = run(session, f"SELECT * FROM {first} WHERE id = ?", keys, output=output)
    assert (report.all_done, report.rows) == (True, ROWS)
    session.execute(f"TRUNCATE {second}")
    # Arrow has no tuples: they are put out as JSON, which is no tuple to who reads Arrow.
    kinds = [kind for kind in SAMPLES if form != "parquet" or "tuple" not in kind]
    names = [NAMES[kind] for kind in kinds]
    insert = (
        f"INSERT INTO {second} (id, {', '.join(names)}) "
        f"VALUES (:id, {', '.join(f':{name}' for name in names)})"
    )
    report = run(session, insert, open_source([str(output)]), failed_file=tmp_path / "failed")
    assert report.all_done, (tmp_path / "failed").read_text()
    wanted, found = rows_of(session, first), rows_of(session, second)
    for kind in kinds:
        if form in ("csv", "tsv"):  # which have no other form for null
            wanted[kind] = {
                id: None if value == "" else value for id, value in wanted[kind].items()
            }
        assert found[kind] == wanted[kind], kind
