"""The parameters of a prepared statement, from a file of CSV or JSON Lines.

A CSV file has a first line with the names of the statement's parameters, in any order. Its values
are texts, which are read as the parameter's type has it; an empty one is null, as it is to cqlsh's
COPY. A line of JSON Lines is an object by those names, or an array in the statement's order. Its
values keep their JSON types; a string for a parameter that is no text is read as in CSV.

Values may be private: no message has one.
"""

from __future__ import annotations

import csv
import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from cassandra.util import Date, Time

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.I | re.A)
_BOOLEANS = {"true": True, "false": False}


class ParametersError(Exception):
    """A file of parameters can't be used; the message says where and why."""


def read_parameters(path: Path, statement: Any) -> Iterator[list[Any]]:
    """Yield the parameters for `statement`, a prepared one, of each record of the file at `path`.

    Each value is tried as the driver would bind it.

    Raises ParametersError, with file, line and parameter.
    """
    columns = [_Column(column, statement.protocol_version) for column in statement.column_metadata]
    read = {".csv": _read_csv, ".jsonl": _read_json_lines}.get(path.suffix.lower())
    if read is None:
        raise ParametersError(f"{path}: the name must end in .csv or .jsonl")
    with _failing(path):
        yield from read(path, columns)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ParametersError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParametersError(f"{path}: must be text in UTF-8") from error


class _Column:
    """A parameter of the statement."""

    def __init__(self, column: Any, protocol_version: int) -> None:
        self.name: str = column.name
        self.type: str = column.type.cql_parameterized_type()
        self._serialize: Callable[[Any, int], object] = column.type.serialize
        self._parse = _PARSERS.get(self.type)
        self._protocol_version = protocol_version

    def from_csv(self, text: str) -> Any:
        """Return the value that `text` stands for; raises ValueError that says what it must be."""
        return None if text == "" else self._from_text(text)

    def from_json(self, value: Any) -> Any:
        """Return `value`, read if it is a string for what is no text; raises ValueError."""
        if value is None:
            return None
        if self._parse is not None:
            if isinstance(value, str):
                return self._from_text(value)
            if isinstance(value, Decimal):
                return self._from_text(str(value))
            # The driver would take True for 1 and a list of numbers for bytes.
            is_boolean = isinstance(value, bool)
            if is_boolean is not (self.type == "boolean") or isinstance(value, list | dict):
                self._refuse()
        return self._tried(value)

    def _from_text(self, text: str) -> Any:
        if self._parse is None:
            raise ValueError(f"is of type {self.type}, which can't be read from a text")
        try:
            value = self._parse(text)
        except (ValueError, ArithmeticError, KeyError):
            self._refuse()
        return self._tried(value)

    def _tried(self, value: Any) -> Any:
        try:
            self._serialize(value, self._protocol_version)
        except Exception:  # the driver raises many kinds, which have the value in their words
            self._refuse()
        return value

    def _refuse(self) -> NoReturn:
        raise ValueError(f"must be of type {self.type}")


def _read_csv(path: Path, columns: Sequence[_Column]) -> Iterator[list[Any]]:
    names = [column.name for column in columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ParametersError(
            f"{path}: the statement has several parameters {twice[0]!r}, which a header can't "
            "tell apart: use .jsonl, with an array in each line"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = csv.reader(file, strict=True)
        line = 1
        try:
            header = next(records, [])
            if sorted(header) != sorted(names):
                raise ParametersError(
                    f"{path}, line 1: must have the names of the statement's parameters: "
                    f"{', '.join(names)}"
                )
            order = [header.index(name) for name in names]
            line = records.line_num + 1
            for record in records:
                if len(record) != len(names):
                    raise ParametersError(
                        f"{path}, line {line}: has {len(record)} values, not {len(names)}"
                    )
                yield [
                    _value(path, line, column, column.from_csv, record[place])
                    for column, place in zip(columns, order, strict=True)
                ]
                line = records.line_num + 1
        except csv.Error as error:
            raise ParametersError(f"{path}, line {line}: is no CSV: {error}") from error


def _read_json_lines(path: Path, columns: Sequence[_Column]) -> Iterator[list[Any]]:
    names = [column.name for column in columns]
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            try:
                record = json.loads(text, parse_float=Decimal)
            except (ValueError, RecursionError):
                raise ParametersError(f"{path}, line {line}: is no JSON") from None
            if isinstance(record, dict) and sorted(record) == sorted(names):
                record = [record[name] for name in names]
            if not isinstance(record, list) or len(record) != len(names):
                raise ParametersError(
                    f"{path}, line {line}: must be an object with just these names, or an array "
                    f"of values in this order: {', '.join(names)}"
                )
            yield [
                _value(path, line, column, column.from_json, value)
                for column, value in zip(columns, record, strict=True)
            ]


def _value(path: Path, line: int, column: _Column, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ParametersError(f"{path}, line {line}, {column.name}: {error}") from None


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError
    return int(text)


def _decimal(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError
    return Decimal(text)


def _float(text: str) -> float:
    exact = _decimal(text)
    number = float(exact)
    if math.isinf(number) and exact.is_finite():
        raise ValueError
    return number


def _timestamp(text: str) -> datetime | int:
    """Read ISO 8601, or milliseconds since 1970; without a zone it is UTC."""
    if _INTEGER.fullmatch(text) is not None:
        return int(text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _blob(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError
    return bytes.fromhex(text[2:])


_PARSERS: dict[str, Callable[[str], Any]] = {
    "ascii": str,
    "text": str,
    "varchar": str,
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint", "varint", "counter"), _integer),
    "float": _float,
    "double": _float,
    "decimal": _decimal,
    "boolean": lambda text: _BOOLEANS[text.lower()],
    "uuid": UUID,
    "timeuuid": UUID,
    "timestamp": _timestamp,
    "date": lambda text: Date(date.fromisoformat(text)),
    "time": Time,
    "inet": lambda text: str(ipaddress.ip_address(text)),
    "blob": _blob,
}
"""How a text is read, by the CQL type. Of other types only JSON can hold values."""
