"""Records to parameters: a prepared statement with the columns its markers take values from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_not
from typing import Any

from cassandra.query import UNSET_VALUE

from concurrent_exec.bulk.converting import ConversionError
from concurrent_exec.bulk.mapping import map_columns
from concurrent_exec.bulk.options import ConvertingOptions, Missing
from concurrent_exec.bulk.records import Chunk, Kind, Rejected, record_at, where
from concurrent_exec.bulk.types import conversion_of
from concurrent_exec.model.options import one_of

_SAMPLE = 256
"""Values of a column that tell whether it repeats itself."""
_FIRST_WITH_UNSET = 4
"""The version of the native protocol."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Where a marker takes its values from, and what they become."""

    marker: str
    cql: str
    """The type, as CQL has it."""
    column: str
    """The column's name, or its place from 0."""
    samples: Sequence[tuple[Any, Any]]
    """Pairs of a value as it was read and as a node will have it; where it can't be converted, the
    second is a ConversionError that says why. Values may be private: show them where they are
    asked for."""


class Binding:
    """A prepared statement with the columns that its markers take their values from."""

    def __init__(
        self,
        prepared: Any,
        columns: Sequence[str] | int,
        *,
        map: Mapping[str, str] | None = None,
        missing: Missing = "unset",
        required: Collection[str] = (),
        options: ConvertingOptions | None = None,
    ) -> None:
        """Bind `prepared` to `columns`, the names or the number that a `Source` has.

        Args:
            prepared: What `session.prepare` returned.
            columns: `Source.columns`.
            map: The marker that a column goes to, by the column's name, or by "0", "1", ... where
                columns have only places. Others go to the markers of their names.
            missing: What a missing value is: "unset", which leaves a row's value as it is and
                writes no tombstone, or "null", which removes it.
            required: Markers besides those of the partition key for which no value may be missing.
            options: How texts are converted.

        Raises MappingError where columns and markers don't fit, ValueError for an option.
        """
        self.prepared = prepared
        self.columns = map_columns(prepared, columns, map)
        """The column of each marker, in the markers' order."""
        one_of("missing", missing, ("unset", "null"))
        if missing == "unset" and prepared.protocol_version < _FIRST_WITH_UNSET:
            raise ValueError(
                "missing must be 'null' with version "
                f"{prepared.protocol_version} of the native protocol, which has no unset values"
            )
        options = options or ConvertingOptions()
        key = set(prepared.routing_key_indexes or ())
        self._names = None if isinstance(columns, int) else columns
        self._count = columns if isinstance(columns, int) else len(self.columns)
        self._markers = [
            _Marker(
                marker,
                column,
                label=marker.name if isinstance(columns, int) else column,
                options=options,
                missing=None if missing == "null" else UNSET_VALUE,
                required=number in key or marker.name in required,
            )
            for number, (marker, column) in enumerate(
                zip(prepared.column_metadata, self.columns, strict=True)
            )
        ]

    def bind(self, chunk: Chunk) -> tuple[Sequence[int], Sequence[tuple[Any, ...]], list[Rejected]]:
        """Return the ordinals and parameters of the records that can be bound, and the others.

        Those that `chunk.rejected` has already are not among the others.
        """
        columns = self._columns_of(chunk)
        if columns is None:
            what = f"has {len(chunk.columns)} values, not {self._count}"
            return (
                [],
                [],
                [self._rejected(chunk, number, what) for number in range(len(chunk.ordinals))],
            )
        wrong: dict[int, str] = {}
        bound = [
            marker.bind(column, chunk.kind, wrong)
            for marker, column in zip(self._markers, columns, strict=True)
        ]
        parameters = list(zip(*bound, strict=True))
        if not wrong:
            return chunk.ordinals, parameters, []
        right = [number not in wrong for number in range(len(parameters))]
        rejected = [self._rejected(chunk, *each) for each in sorted(wrong.items())]
        return list(compress(chunk.ordinals, right)), list(compress(parameters, right)), rejected

    def _columns_of(self, chunk: Chunk) -> list[Sequence[Any]] | None:
        """Return the column of each marker, None where the records have too many or too few.

        Lines of JSON may be objects and arrays by turns: an array has the markers' order then.
        """
        if chunk.named:
            names = self.columns if self._names else [marker.name for marker in self._markers]
        elif len(chunk.columns) != self._count:
            return None
        else:
            names = list(map(str, range(self._count))) if self._names else self.columns
        # Of JSON, a chunk has the columns that any of its records has.
        nothing = (None,) * len(chunk.ordinals)
        return [chunk.columns.get(name, nothing) for name in names]

    @staticmethod
    def _rejected(chunk: Chunk, number: int, what: str) -> Rejected:
        place = chunk.places[number]
        return Rejected(
            ordinal=chunk.ordinals[number],
            source=chunk.source,
            place=place,
            record=record_at(chunk, number),
            kind="ConversionError",
            message=f"{where(chunk, place)}, {what}",
        )

    def explain(self, sample: Chunk, count: int = 3) -> list[Explained]:
        """Return of each marker its type, its column and its values of the first `count` records
        of `sample`."""
        return [
            Explained(
                marker.name,
                marker.conversion.cql,
                marker.column,
                [(value, marker.sample(value, sample.kind)) for value in column[:count]],
            )
            for marker, column in zip(self._markers, self._columns_of(sample) or (), strict=False)
        ]


class _Marker:
    """A marker of the statement, and how it is given its values."""

    def __init__(
        self,
        description: Any,
        column: str,
        *,
        label: str,
        options: ConvertingOptions,
        missing: Any,
        required: bool,
    ) -> None:
        self.name: str = description.name
        self.column = column
        self.conversion = conversion_of(description.type, options)
        self._type = description.type
        self._label = label
        self._nulls = frozenset(options.nulls)
        self._missing = missing
        self._required = required

    def bind(self, values: Sequence[Any], kind: Kind, wrong: dict[int, str]) -> Sequence[Any]:
        """Return `values` converted; tell `wrong` what of which number can't be."""
        try:
            return self._at_once(values, kind)
        except Exception:  # whatever a value does to the parts of its conversion
            return self._one_by_one(values, kind, wrong)

    def _at_once(self, values: Sequence[Any], kind: Kind) -> Sequence[Any]:
        if kind != "text":
            given = list(map(is_not, values, repeat(None)))
            return self._filled(values, given, self.conversion.values)
        if len(set(values[:_SAMPLE])) * 2 <= len(values[:_SAMPLE]):
            # Of a column that repeats itself each value is made once.
            different = list(set(values))
            made = dict(zip(different, self._texts(different), strict=True))
            return list(map(made.__getitem__, values))
        return self._texts(values)

    def _texts(self, texts: Sequence[str]) -> Sequence[Any]:
        nulls = self._nulls
        if not any(null in texts for null in nulls):
            return self.conversion.texts(texts)
        given = [text not in nulls for text in texts]
        return self._filled(texts, given, self.conversion.texts)

    def _filled(
        self,
        values: Sequence[Any],
        given: Sequence[bool],
        convert: Callable[[Sequence[Any]], Sequence[Any]],
    ) -> Sequence[Any]:
        """Return what `convert` makes of those of `values` that are given, the others missing."""
        if all(given):
            return convert(values)
        if self._required:
            raise ConversionError
        converted = iter(convert(list(compress(values, given))))
        return [next(converted) if each else self._missing for each in given]

    def _one_by_one(
        self, values: Sequence[Any], kind: Kind, wrong: dict[int, str]
    ) -> Sequence[Any]:
        converted = []
        for number, value in enumerate(values):
            try:
                converted.append(self._one(value, kind))
            except ConversionError as error:
                converted.append(None)
                wrong.setdefault(number, f"{self._label}: {error}")
        return converted

    def _one(self, value: Any, kind: Kind) -> Any:
        if self._is_missing(value, kind):
            if self._required:
                raise ConversionError("must not be missing: it is part of the key")
            return self._missing
        convert = self.conversion.text if kind == "text" else self.conversion.value
        try:
            return convert(value)
        except Exception as error:  # what is raised by a value may have it in its words
            raise ConversionError(self.conversion.refusal(error)) from None

    def _is_missing(self, value: Any, kind: Kind) -> bool:
        return value in self._nulls if kind == "text" else value is None

    def sample(self, value: Any, kind: Kind) -> Any:
        """Return what a node will have for `value`, or the ConversionError."""
        try:
            converted = self._one(value, kind)
        except ConversionError as error:
            return error
        if converted is None or converted is UNSET_VALUE:
            return converted
        stored = self._type.serialize(converted, _FIRST_WITH_UNSET)
        return self._type.from_binary(stored, _FIRST_WITH_UNSET)
