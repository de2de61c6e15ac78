"""Values as the columns of a table have them, a column at a time.

A conversion takes texts, which CSV has, or values: what JSON has, or Python. It has two ways for
both: all at once, which is fast and only says that something is wrong, and one by one, which says
what.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V")


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
