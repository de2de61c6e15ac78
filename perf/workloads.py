"""What the ways are given to do: the same statements and values on every server and driver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from concurrent_exec import CallbackExecutor
from perf.servers import KEYSPACE

KEYS = 1_000
"""Rows that one-row reads find, in turn."""
PARTITIONS, ROWS = 10, 100
"""Of the table for reads of many rows."""

Parameters = tuple[Any, ...]


@dataclass(frozen=True)
class Workload:
    """Statements of one kind.

    name: of the kind.
    value_bytes: of each value that is written or read.
    cql: the statements, which take turns.
    cost: about how many one-row writes one of these costs, to choose their number by.
    """

    name: str
    value_bytes: int
    cql: tuple[str, ...]
    cost: float = 1.0

    def items(self, count: int) -> Iterator[tuple[int, Parameters]]:
        """Yield `count` times the index of a statement in `cql`, and its parameters."""
        value = "x" * self.value_bytes
        turns = len(self.cql)
        makers = [
            _writes(cql, value) if cql.startswith("INSERT") else _reads(cql) for cql in self.cql
        ]
        for number in range(count):
            which = number % turns
            yield which, makers[which](number)


def _writes(cql: str, value: str) -> Any:
    columns = cql.count("?")
    if columns == 2:
        return lambda number: (number, value)
    more = (value,) * (columns - 1)
    return lambda number: (number, *more)


def _reads(cql: str) -> Any:
    distinct = PARTITIONS if "many" in cql else KEYS
    return lambda number: (number % distinct,)


def write(value_bytes: int, columns: int = 2) -> Workload:
    """Inserts of one row, whose columns but the key are texts of so many bytes."""
    names = ["value", *(f"value{number}" for number in range(2, columns))]
    table = f"{KEYSPACE}.rows_{columns}_{value_bytes}"
    marks = ", ".join("?" * columns)
    cql = f"INSERT INTO {table} (key, {', '.join(names)}) VALUES ({marks})"
    return Workload("write", value_bytes, (cql,), cost=1 + columns * value_bytes / 20_000)


def read(value_bytes: int) -> Workload:
    """Selects of one row by its key."""
    cql = f"SELECT key, value FROM {KEYSPACE}.rows_2_{value_bytes} WHERE key = ?"
    return Workload("read 1", value_bytes, (cql,), cost=2)


def read_many(value_bytes: int) -> Workload:
    """Selects of a partition of 100 rows."""
    cql = f"SELECT key, number, value FROM {KEYSPACE}.many_{value_bytes} WHERE key = ? LIMIT {ROWS}"
    return Workload("read 100", value_bytes, (cql,), cost=10 if value_bytes < 1000 else 20)


def mixed(value_bytes: int) -> Workload:
    """Inserts and selects of one row in turn."""
    both = (*write(value_bytes).cql, *read(value_bytes).cql)
    return Workload("mixed", value_bytes, both, cost=1.5)


KINDS = {"write": write, "read 1": read, "read 100": read_many, "mixed": mixed}


class Bound:
    """A workload on a session: its tables are there and filled, its statements prepared."""

    def __init__(self, session: Any, workload: Workload) -> None:
        self.session = session
        self.workload = workload
        _fill(session, workload)
        self._prepared = [session.prepare(cql) for cql in workload.cql]

    @property
    def statement(self) -> Any:
        """The prepared statement, or None if there are several."""
        return self._prepared[0] if len(self._prepared) == 1 else None

    def parameters(self, count: int) -> Iterator[Parameters]:
        """Yield the parameters of so many."""
        return (parameters for _, parameters in self.workload.items(count))

    def pairs(self, count: int) -> Iterator[tuple[Any, Parameters]]:
        """Yield statement and parameters of so many."""
        prepared = self._prepared
        return ((prepared[which], parameters) for which, parameters in self.workload.items(count))


def _fill(session: Any, workload: Workload) -> None:
    size = workload.value_bytes
    insert = partial(_insert, session)
    for cql in workload.cql:
        if cql.startswith("INSERT"):
            _create_rows(session, cql)
        elif "many" in cql:
            table = f"{KEYSPACE}.many_{size}"
            session.execute(
                f"CREATE TABLE IF NOT EXISTS {table} "
                "(key int, number int, value text, PRIMARY KEY (key, number))"
            )
            rows = [
                (key, number, "x" * size) for key in range(PARTITIONS) for number in range(ROWS)
            ]
            insert(f"INSERT INTO {table} (key, number, value) VALUES (?, ?, ?)", rows)
        else:
            made = write(size)
            _create_rows(session, made.cql[0])
            insert(made.cql[0], [parameters for _, parameters in made.items(KEYS)])


def _create_rows(session: Any, insertion: str) -> None:
    """Create the table of an INSERT of ours: an int for the key, texts for the rest."""
    head, _, _ = insertion.partition(") VALUES")
    table, _, names = head.removeprefix("INSERT INTO ").partition(" (")
    columns = ", ".join(f"{name} text" for name in names.split(", ")[1:])
    session.execute(f"CREATE TABLE IF NOT EXISTS {table} (key int PRIMARY KEY, {columns})")


def _insert(session: Any, cql: str, rows: list[Parameters]) -> None:
    with CallbackExecutor(session) as executor:
        executor.map(session.prepare(cql), rows).all()
