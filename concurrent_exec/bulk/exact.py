"""Values as JSON that are read back as the very same values, however texts are then read.

What JSON has itself stands as it is. All else is an object of one key, which says what it is, as
in MongoDB's Extended JSON: {"$bytes": "0x00ff"}, {"$datetime": "2026-11-27T10:30:00"}. A mapping
that could be taken for one of these, or has keys that are no strings, is {"$map": [[key, value]]}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple
from uuid import UUID

from cassandra.util import Date, Duration, OrderedMap, SortedSet, Time

from concurrent_exec.bulk.converting import is_hashable, listed, plain
from concurrent_exec.bulk.records import Kind

_LONGEST = 8192
"""Bits of an integer that is written in decimal; from 4,300 digits on Python refuses to."""
_HEX = re.compile("-?0x[0-9a-fA-F]+")
"""As Python writes an integer that has more."""


def keep(value: Any, kind: Kind) -> Any:
    """Return `value`, of a chunk of that kind, as `json.dumps` takes it. Raises nothing.

    What no conversion knows is kept as its repr, and refused again when it is restored.
    """
    try:
        return _kept(value, kind)
    except Exception:  # whatever a caller's object does, or one that has no end
        return {"$object": _shown(value)}


def restore(value: Any, kind: Kind) -> Any:
    """Return what `keep` was given, of what JSON has, with its decimals as Decimal.

    What it has not written, but somebody by hand, is what it looks like.
    """
    if isinstance(value, list):
        return [restore(each, kind) for each in value]
    if isinstance(value, Decimal) and kind == "python" and _is_float(value):
        return float(value)
    if not isinstance(value, dict):
        return value
    form = _FORMS.get(next(iter(value))) if len(value) == 1 else None
    if form is None:
        return {name: restore(each, kind) for name, each in value.items()}
    (written,) = value.values()
    try:
        return form.read(restore(written, kind))
    except Exception:  # it was mended into nothing
        return Unknown(str(written))


@dataclass(frozen=True)
class Unknown:
    """In place of a value that can't be restored: no conversion takes it."""

    shown: str


def _kept(value: Any, kind: Kind) -> Any:
    value = plain(value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value.bit_length() <= _LONGEST:
        return value
    if isinstance(value, float) and kind == "python" and math.isfinite(value):
        return value
    # A number of JSON is a Decimal to us, and stays a number where that tells all of it.
    if isinstance(value, Decimal) and kind != "python" and _is_float(value):
        return float(value)
    if isinstance(value, Mapping):
        is_object = all(isinstance(key, str) for key in value)
        if is_object and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {key: _kept(each, kind) for key, each in value.items()}
        value = _Pairs(list(value.items()))
    for name, form in _FORMS.items():
        if form.knows(value):
            return {name: _kept(form.write(value), kind)}
    value = listed(value)
    if isinstance(value, list | tuple):
        return [_kept(each, kind) for each in value]
    return {"$object": value.shown if isinstance(value, Unknown) else _shown(value)}


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # whatever a caller's object does
        return type(value).__name__


def _is_float(number: Decimal) -> bool:
    """Say whether the float of that value is read from the same digits."""
    nearest = float(number)
    return math.isfinite(nearest) and str(Decimal(repr(nearest))) == str(number)


class _Pairs(NamedTuple):
    """A mapping that is no object of JSON."""

    pairs: Sequence[Any]


class _Form(NamedTuple):
    """How values of some types stand in JSON."""

    types: type | tuple[type, ...]
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]

    def knows(self, value: Any) -> bool:
        return isinstance(value, self.types)


class _DurationForm(_Form):
    """Of durations: the driver's, and Arrow's, which is a tuple as well."""

    def knows(self, value: Any) -> bool:
        return hasattr(value, "nanoseconds") and hasattr(value, "months")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _int(text: str) -> int:
    if not _HEX.fullmatch(text):  # without its 0x, "1e9" is what somebody has meant otherwise
        raise ValueError
    return int(text, 16)


def _write_datetime(moment: datetime) -> Any:
    # The later one of an hour that the clocks go through twice, which ISO 8601 has no form for.
    return [moment.isoformat(), 1] if moment.fold and moment.tzinfo is None else moment.isoformat()


def _datetime(written: Any) -> datetime:
    text, fold = (written, 0) if isinstance(written, str) else written
    return datetime.fromisoformat(text).replace(fold=fold)


def _map(pairs: Sequence[tuple[Any, Any]]) -> Mapping[Any, Any]:
    if all(is_hashable(key) for key, _ in pairs):
        return dict(pairs)
    made: Mapping[Any, Any] = OrderedMap(pairs)
    return made


def _set(elements: Sequence[Any]) -> Any:
    hashable = all(map(is_hashable, elements))
    return frozenset(elements) if hashable else SortedSet(elements)


_FORMS: Mapping[str, _Form] = {
    "$bytes": _Form(
        (bytes, bytearray, memoryview), lambda value: f"0x{bytes(value).hex()}", _bytes
    ),
    "$datetime": _Form(datetime, _write_datetime, _datetime),  # before date, which it is one of
    "$date": _Form(date, date.isoformat, date.fromisoformat),
    "$time": _Form(time, time.isoformat, time.fromisoformat),
    "$microseconds": _Form(
        timedelta,
        lambda value: value // timedelta(microseconds=1),
        lambda count: timedelta(microseconds=count),
    ),
    "$duration": _DurationForm(
        Duration,
        lambda value: [value.months, value.days, value.nanoseconds],
        lambda counts: Duration(*counts),
    ),
    "$decimal": _Form(Decimal, str, Decimal),
    "$float": _Form(float, lambda value: repr(float(value)), float),
    "$int": _Form(int, hex, _int),
    "$uuid": _Form(UUID, str, UUID),
    "$inet": _Form((IPv4Address, IPv6Address), str, ip_address),
    # The drivers' own, which have more years and more digits.
    "$days": _Form(Date, lambda value: value.days_from_epoch, Date),
    "$nanoseconds": _Form(Time, lambda value: value.nanosecond_time, Time),
    "$set": _Form((AbstractSet, SortedSet), list, _set),
    "$map": _Form(_Pairs, lambda value: value.pairs, _map),
    "$object": _Form(Unknown, lambda value: value.shown, Unknown),
}
