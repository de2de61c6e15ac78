"""Values as the columns of a table have them, a column at a time.

A conversion takes texts, which CSV has, or values: what JSON has, or Python. It has two ways for
both: all at once, which is fast and only says that something is wrong, and one by one, which says
what.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from operator import index
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V")
_PLAIN = (str, int, float, Decimal, bytes, date, time, timedelta, list, dict, tuple)
"""Types that are never another library's numbers."""


class ConversionError(ValueError):
    """A value is none of its type's. The message says what it must be, and not what it is."""

    of: object = None
    """The conversion that has raised it."""


class Conversion:
    """How the values of one CQL type are made. A subclass has at least `text` and `value`."""

    def __init__(self, cql: str) -> None:
        self.cql = cql
        """The type, as CQL has it."""

    def text(self, text: str) -> Any:
        """Return what `text` stands for; raises ConversionError, or anything else that is wrong
        with it."""
        raise NotImplementedError

    def value(self, value: Any) -> Any:
        """Return `value` as the driver is to have it; raises as `text` does.

        A string stands for the same as in CSV. `value` is not None.
        """
        raise NotImplementedError

    def key(self, value: Any) -> Any:
        """Return the key of a map; of a JSON object keys are strings, whatever they stand for."""
        return self.value(value)

    def texts(self, texts: Sequence[str]) -> Sequence[Any]:
        """Return what all of `texts` stand for; raises if one stands for nothing."""
        return list(map(self.text, texts))

    def values(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return all of `values` as the driver is to have them; raises if one is wrong."""
        if set(map(type, values)) == {str}:
            return self.texts(values)
        return list(map(self.value, values))

    def refusal(self, error: Exception) -> str:
        """Return what a value must be that `error` was raised for."""
        if isinstance(error, ConversionError):
            return str(error)
        return f"must be of type {self.cql}"

    def wrong(self, what: str = "") -> ConversionError:
        """Return the error for a value that is none of this type's, saying `what`."""
        error = ConversionError(f"must be of type {self.cql}{', ' if what else ''}{what}")
        error.of = self
        return error


def plain(value: Any) -> Any:
    """Return what Python itself has for `value`, of another library's numbers or of numpy's other
    scalars; anything else as it is. numpy is not imported for it.

    Raises whatever a scalar does that is none of Python's.
    """
    if isinstance(value, _PLAIN):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind not in ("b", "M", "m") or value.shape != ():
        if isinstance(value, Integral):
            return index(value)
        return float(value) if isinstance(value, Real) else value
    # With nanoseconds it would give a mere number.
    made = value.item() if kind == "b" else value.astype(f"{kind}8[us]").item()
    if isinstance(made, bool | datetime):
        return made
    is_whole = isinstance(made, timedelta) and value.astype("m8[us]") == value
    return made if is_whole else value


def listed(value: Any) -> Any:
    """Return a list for an array of numpy's, which is how a frame may have it."""
    if getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m"):
        return list(value)  # of scalars, which say their unit
    return value.tolist() if hasattr(value, "tolist") else value


def each_once(convert: Callable[[T], V], values: Sequence[T]) -> list[V]:
    """Return what `convert` makes of `values`, which repeat often in the columns of a table."""
    different = set(values)
    if len(different) * 2 > len(values):
        return list(map(convert, values))
    made = {value: convert(value) for value in different}
    return list(map(made.__getitem__, values))


def is_hashable(value: Any) -> bool:
    """Return whether `value` can be an element of a set, all of it."""
    if not isinstance(value, Hashable):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True
