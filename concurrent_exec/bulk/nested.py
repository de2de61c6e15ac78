"""Collections, tuples, user-defined types and vectors; a text has them as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

from cassandra.util import OrderedMap, SortedSet

from concurrent_exec.bulk.converting import Conversion, ConversionError, is_hashable, listed


class Nested(Conversion):
    """A type that holds values of other types."""

    def text(self, text: str) -> Any:
        """See `Conversion`."""
        return self.value(json.loads(text, parse_float=Decimal))

    def value(self, value: Any) -> Any:
        """See `Conversion`."""
        try:
            return self._made(value)
        except ConversionError as error:
            if error.of is self:
                raise
            raise ConversionError(f"{self.wrong()}: what is in it {error}") from None

    def _made(self, value: Any) -> Any:
        """Return what `value` is; raises as `value` does."""
        raise NotImplementedError

    def key(self, value: Any) -> Any:
        """See `Conversion`."""
        return self.text(value) if isinstance(value, str) else self.value(value)

    def values(self, values: Sequence[Any]) -> Sequence[Any]:
        """See `Conversion`. No string: JSON within JSON is none of the field's ways."""
        return list(map(self.value, values))

    def _elements(self, value: Any, of: Conversion) -> Sequence[Any]:
        """Return the elements of a list or tuple, each converted."""
        if not isinstance(value, list | tuple):
            raise self.wrong()
        if any(each is None for each in value):
            raise self.wrong("without null in it")
        try:
            return of.values(value)
        except Exception:  # which one by one tells better
            return [_part(of.value, of, each) for each in value]


class Array(Nested):
    """Lists."""

    def __init__(self, cql: str, of: Conversion) -> None:
        super().__init__(cql)
        self._of = of

    def _made(self, value: Any) -> Sequence[Any]:
        return list(self._elements(listed(value), self._of))


class Vector(Nested):
    """Vectors, which have a fixed number of elements."""

    def __init__(self, cql: str, of: Conversion, size: int) -> None:
        super().__init__(cql)
        self._of = of
        self._size = size

    def _made(self, value: Any) -> Sequence[Any]:
        elements = self._elements(listed(value), self._of)
        if len(elements) != self._size:
            raise self.wrong(f"with {self._size} elements")
        return list(elements)


class Collection(Nested):
    """Sets; JSON has them as arrays."""

    def __init__(self, cql: str, of: Conversion) -> None:
        super().__init__(cql)
        self._of = of

    def _made(self, value: Any) -> Iterable[Any]:
        # The drivers' rows have a class of their own. What can't be hashed stays a list, which the
        # driver sends as well.
        is_set = isinstance(value, AbstractSet | SortedSet)
        elements = self._elements(list(value) if is_set else listed(value), self._of)
        return set(elements) if all(map(is_hashable, elements)) else list(elements)


class Dictionary(Nested):
    """Maps: objects of JSON, mappings, or pairs, as Arrow has them."""

    def __init__(self, cql: str, key: Conversion, of: Conversion) -> None:
        super().__init__(cql)
        self._key = key
        self._of = of

    def _made(self, value: Any) -> Mapping[Any, Any]:
        pairs = list(value.items()) if isinstance(value, Mapping) else listed(value)
        if not isinstance(pairs, list | tuple):
            raise self.wrong()
        if any(key is None or each is None for key, each in pairs):
            raise self.wrong("without null in it")
        made = [
            (_part(self._key.key, self._key, key), _part(self._of.value, self._of, each))
            for key, each in pairs
        ]
        return dict(made) if all(is_hashable(key) for key, _ in made) else OrderedMap(made)


class Record(Nested):
    """Tuples and user-defined types: arrays of all fields, or, by the fields' names, objects."""

    def __init__(self, cql: str, names: Sequence[str], of: Sequence[Conversion]) -> None:
        super().__init__(cql)
        self._names = names
        self._of = of

    def _made(self, value: Any) -> tuple[Any, ...]:
        value = listed(value)
        # A field that an object does not have is null.
        if isinstance(value, Mapping):
            if not set(value) <= set(self._names):
                raise self.wrong(f"with no other fields than {', '.join(self._names)}")
            value = [value.get(name) for name in self._names]
        elif not isinstance(value, list | tuple) or len(value) != len(self._of):
            raise self.wrong(f"with {len(self._of)} fields")
        return tuple(
            None if each is None else _part(conversion.value, conversion, each)
            for each, conversion in zip(value, self._of, strict=True)
        )


def _part(convert: Callable[[Any], Any], of: Conversion, value: Any) -> Any:
    """Return what `convert`, a method of `of`, makes of `value`; raises ConversionError."""
    try:
        return convert(value)
    except Exception as error:
        raise ConversionError(of.refusal(error)) from None
