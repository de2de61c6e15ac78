"""Where a run's statements come from, and how they are pulled.

The caller's iterable is the caller's code: it may block, raise, never end, or wait for this very
run. It is pulled by a thread that may wait (the feeder, or the caller), never under a lock, and
never by the driver's I/O thread. A plain list, tuple or range has no code to run, so whoever
takes a job pulls it in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from concurrent_exec.model import InvalidItemError

_PLAIN = (list, tuple, range)
_PLAIN_PAIR = (tuple, list)
_NEVER_MANY = (str, bytes, bytearray, Mapping)
_NEVER_A_PAIR = (*_NEVER_MANY, Set)


class Lists(Iterable[Any]):
    """Parameters that come many at a time, as from a file: a run pulls as many as are there."""

    def __init__(self, lists: Iterable[Sequence[Any]]) -> None:
        """Make one of lists, which are asked for one after another, as a generator is."""
        self.lists = iter(lists)
        self._list: Sequence[Any] = ()
        self._at = 0

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator of what is in them, one by one."""
        while (some := self.some(1)) is not None:
            yield from some

    def some(self, most: int) -> Sequence[Any] | None:
        """Return the next ones, up to `most` and at least one of them, or None at the end."""
        while self._at >= len(self._list):
            following = next(self.lists, None)
            if following is None:
                return None
            self._list, self._at = following, 0
        first, self._at = self._at, self._at + most
        return self._list[first : self._at]


class Source:
    """The statements of one run; exactly one of `items` and `iterator` is given.

    `items` can be pulled in place, by index. `iterator` runs the caller's code. Where
    `statement` is given, an item is the parameters of that one statement, else an item is a pair.
    """

    def __init__(
        self,
        *,
        items: Sequence[Any] | None = None,
        iterator: Iterator[Any] | None = None,
        lists: Lists | None = None,
        statement: Any = None,
    ) -> None:
        self.items = items
        self.iterator = iterator
        self.lists = lists
        """What `iterator` has one by one, where that comes many at a time."""
        self._statement = statement
        self.total = None if items is None else len(items)
        """How many there are, where that is known."""

    @property
    def statement(self) -> Any:
        """The one statement of all items, or None where each has its own."""
        return self._statement

    def as_iterator(self) -> None:
        """Have the items pulled one by one by who feeds, who may run code of the user's."""
        items, self.items = self.items, None
        if items is not None:
            self.iterator = iter(items)

    def let_go(self) -> None:
        """Refer to the caller's iterator no more."""
        self.iterator = self.lists = None

    def pair(self, index: int, item: Any) -> tuple[Any, Any]:
        """Return the statement and parameters of the input's `item`.

        Raises InvalidItemError where an item is not a pair.
        """
        return (self._statement, item) if self._statement is not None else _unpack(index, item)

    def pair_at(self, index: int) -> tuple[Any, Any]:
        """Return the pair at `index` of `items`, running no code of the user's.

        Raises InvalidItemError where the list was changed meanwhile and holds no pair there.
        """
        assert self.items is not None
        try:
            item = self.items[index]
        except IndexError:
            raise InvalidItemError(index, "was removed while the run was under way") from None
        if self._statement is not None:
            return self._statement, item
        if type(item) in _PLAIN_PAIR and len(item) == 2:
            return item[0], item[1]
        raise InvalidItemError(index, "was replaced by no pair while the run was under way")

    def pairs_at(self, first: int, most: int) -> list[tuple[Any, Any]]:
        """Return up to `most` pairs of `items` from `first` on, as `pair_at` returns one.

        Raises InvalidItemError where any of them is no pair any more, or has gone.
        """
        assert self.items is not None
        last = max(first, min(first + most, len(self.items)))
        if self._statement is None:
            return [self.pair_at(index) for index in range(first, last)]
        statement = self._statement
        return [(statement, item) for item in self.items[first:last]]

    @classmethod
    def of_pairs(cls, statements_and_parameters: Iterable[Any]) -> Source:
        """Return the source of an iterable of (statement, parameters) pairs.

        Raises TypeError where it is not iterable.
        """
        pairs = statements_and_parameters
        if type(pairs) in _PLAIN and all(
            type(item) in _PLAIN_PAIR and len(item) == 2 for item in pairs
        ):
            return cls(items=pairs)  # type: ignore[arg-type]
        return cls(
            iterator=_iterate("statements_and_parameters", pairs, "(statement, parameters) pairs")
        )

    @classmethod
    def of_parameters(cls, statement: Any, parameters: Iterable[Any]) -> Source:
        """Return the source of one statement with many parameters.

        Raises TypeError where `parameters` is not iterable, or the statement is None.
        """
        if statement is None:
            raise TypeError("statement must be a statement that the session takes, not None")
        if type(parameters) in _PLAIN:
            return cls(items=parameters, statement=statement)  # type: ignore[arg-type]
        return cls(
            iterator=_iterate("parameters", parameters, "sequences, mappings or None"),
            lists=parameters if isinstance(parameters, Lists) else None,
            statement=statement,
        )


def _iterate(name: str, value: Any, expected: str) -> Iterator[Any]:
    try:
        if isinstance(value, _NEVER_MANY):
            raise TypeError
        return iter(value)
    except TypeError as exc:
        kind = type(value).__name__
        raise TypeError(f"{name} must be an iterable of {expected}, not {kind}") from exc


def _unpack(index: int, item: Any) -> tuple[Any, Any]:
    try:
        if isinstance(item, _NEVER_A_PAIR):
            raise TypeError
        parts = tuple(islice(item, 3))
    except (TypeError, StopIteration) as exc:
        raise InvalidItemError(index, f"is of type {type(item).__name__}") from exc
    if len(parts) != 2:
        count = "more than two" if len(parts) > 2 else len(parts)
        raise InvalidItemError(index, f"has {count} elements")
    return parts
