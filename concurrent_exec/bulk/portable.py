"""Values of rows as JSON and as text, in the forms that are read back as the same values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from typing import Any


def to_json(value: Any) -> Any:
    """Return `value`, of a row, as `json.dumps` takes it.

    What JSON has no form for becomes a string, in the form that CQL's own JSON has: a blob 0x and
    hexadecimal digits, a timestamp ISO 8601 in UTC, NaN and the infinities their names. A
    decimal is a string too: as a number most readers would round it. Keys of a map are strings,
    those that are none as JSON text. A user-defined type is an object, a timedelta a duration of
    CQL. A timestamp without a time zone is UTC, as the drivers give them.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _NAMES.get(value, "NaN")
    if isinstance(value, bytes | bytearray | memoryview):
        return "0x" + bytes(value).hex()
    if isinstance(value, datetime):
        return _timestamp(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value // timedelta(microseconds=1)}us"
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {_key(to_json(key)): to_json(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_json(each) for name, each in value._asdict().items()}
    if isinstance(value, list | tuple | AbstractSet) or _is_array(value):
        return [to_json(each) for each in value]
    return str(value)


def to_text(value: Any) -> str:
    """Return `value` as the field of a CSV file: null is empty, a collection is JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    made = to_json(value)
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def _key(made: Any) -> str:
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _timestamp(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    exact = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return f"{moment.isoformat(timespec=exact)}Z"


def _is_array(value: Any) -> bool:
    # The drivers' SortedSet, and arrays of numpy.
    return hasattr(value, "__iter__") and hasattr(value, "__len__")
