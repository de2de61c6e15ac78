"""What the ways are given to do: the same statements and values on every server and driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from concurrent_exec import CallbackExecutor
from perf.servers import KEYSPACE

KEYS = 1_000
"""Rows that one-row reads find, in turn."""
PARTITIONS, ROWS = 10, 100
"""Of the table for reads of many rows."""
TOGETHER = 50
"""Rows of a partition that are written one after another."""

Parameters = tuple[Any, ...]


@dataclass(frozen=True)
class Statement:
    """A statement that is run many times.

    table: its name and what stands in the brackets of CREATE TABLE.
    parameters: makes those of the statement's nth time.
    rows: what must be there before, as an INSERT and its parameters.
    """

    cql: str
    table: tuple[str, str]
    parameters: Callable[[int], Parameters]
    rows: tuple[str, Sequence[Parameters]] = ("", ())


@dataclass(frozen=True)
class Workload:
    """Statements of one kind, which take turns.

    name: of the kind.
    value_bytes: of each value that is written or read.
    cost: about how many one-row writes one of these costs, to choose their number by.
    """

    name: str
    value_bytes: int
    statements: tuple[Statement, ...]
    cost: float = 1.0

    def items(self, count: int) -> Iterator[tuple[int, Parameters]]:
        """Yield `count` times the index of a statement, and parameters for it."""
        makers = [statement.parameters for statement in self.statements]
        turns = len(makers)
        for number in range(count):
            which = number % turns
            yield which, makers[which](number)


def write(value_bytes: int, columns: int = 2) -> Workload:
    """Inserts of one row, whose columns but the key are texts of so many bytes."""
    names = [f"value{number}" for number in range(1, columns)]
    table = f"{KEYSPACE}.rows_{columns}_{value_bytes}"
    cql = f"INSERT INTO {table} (key, {', '.join(names)}) VALUES (?{', ?' * len(names)})"
    values = ("x" * value_bytes,) * len(names)
    texts = ", ".join(f"{name} text" for name in names)
    statement = Statement(
        cql, (table, f"key int PRIMARY KEY, {texts}"), lambda number: (number, *values)
    )
    cost = 1 + columns * value_bytes / 20_000
    return Workload("write", value_bytes, (statement,), cost)


def _partitioned(table: str) -> tuple[str, str]:
    return table, "key int, number int, value text, PRIMARY KEY (key, number)"


def write_together(value_bytes: int) -> Workload:
    """Inserts of one row, 50 to a partition."""
    table = f"{KEYSPACE}.written_{value_bytes}"
    value = "x" * value_bytes
    statement = Statement(
        f"INSERT INTO {table} (key, number, value) VALUES (?, ?, ?)",
        _partitioned(table),
        lambda number: (number // TOGETHER, number % TOGETHER, value),
    )
    return Workload("write 50", value_bytes, (statement,))


def read(value_bytes: int) -> Workload:
    """Selects of one row by its key."""
    (written,) = write(value_bytes).statements
    statement = Statement(
        f"SELECT key, value1 FROM {written.table[0]} WHERE key = ?",
        written.table,
        lambda number: (number % KEYS,),
        (written.cql, [written.parameters(number) for number in range(KEYS)]),
    )
    return Workload("read 1", value_bytes, (statement,), cost=2)


def read_many(value_bytes: int, rows: int = ROWS) -> Workload:
    """Selects of a partition of so many rows."""
    table = f"{KEYSPACE}.read_{rows}_{value_bytes}"
    value = "x" * value_bytes
    statement = Statement(
        f"SELECT key, number, value FROM {table} WHERE key = ? LIMIT {rows}",
        _partitioned(table),
        lambda number: (number % PARTITIONS,),
        (
            f"INSERT INTO {table} (key, number, value) VALUES (?, ?, ?)",
            [(key, number, value) for key in range(PARTITIONS) for number in range(rows)],
        ),
    )
    cost = (10 if value_bytes < 1000 else 20) * rows / ROWS
    return Workload(f"read {rows}", value_bytes, (statement,), cost)


def mixed(value_bytes: int) -> Workload:
    """Inserts and selects of one row in turn."""
    both = (*write(value_bytes).statements, *read(value_bytes).statements)
    return Workload("mixed", value_bytes, both, cost=1.5)


KINDS = {
    "write": write,
    "write 50": write_together,
    "read 1": read,
    "read 100": read_many,
    "mixed": mixed,
}


class Bound:
    """A workload on a session: its tables are there and filled, its statements prepared."""

    def __init__(self, session: Any, workload: Workload) -> None:
        self.session = session
        self.workload = workload
        for statement in workload.statements:
            table, columns = statement.table
            session.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            insert, rows = statement.rows
            if rows:
                with CallbackExecutor(session) as executor:
                    executor.map(session.prepare(insert), rows).all()
        self._prepared = [session.prepare(statement.cql) for statement in workload.statements]

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
