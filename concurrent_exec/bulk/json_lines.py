"""JSON Lines: an object or an array in each line. Empty lines are no records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from concurrent_exec.bulk.files import File
from concurrent_exec.bulk.lines import Block, blocks, is_clean
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import Chunk, Rejected

Read = tuple[int, int, Any]
"""Ordinal, line and record."""


class JsonLines:
    """The records of one file, which can be read once."""

    names: Sequence[str] | None = None
    """See `Reader`: no header says them."""

    def __init__(self, file: File, options: ReadingOptions) -> None:
        self._path = file.path
        self._encoding = options.encoding
        self._blocks = blocks(file, options.encoding, "\n")
        # A decimal must not lose digits on its way.
        self._decoder = json.JSONDecoder(parse_float=Decimal)

    def chunks(self, first: int) -> Iterator[Chunk]:
        """See `Reader`. A chunk has objects, or arrays of one length."""
        for block in self._blocks:
            lines = block.text.replace("\r\n", "\n").removesuffix("\n").split("\n")
            records = self._at_once(lines, block)
            if records is not None:
                numbered: list[Read] = list(
                    zip(
                        range(first, first + len(records)),
                        range(block.first, block.first + len(records)),
                        records,
                        strict=True,
                    )
                )
                rejected: list[Rejected] = []
            else:
                numbered, rejected = self._one_by_one(first, lines, block.first)
            if numbered or rejected:
                yield from self._chunks(first, numbered, rejected)
            first += len(numbered) + len(rejected)

    def _at_once(self, lines: Sequence[str], block: Block) -> list[Any] | None:
        """Return the values in `lines`, None if one of them needs a closer look."""
        if block.is_suspect:
            return None
        try:
            read = list(map(self._decoder.raw_decode, lines))
        except (ValueError, RecursionError):
            return None
        if list(map(itemgetter(1), read)) != list(map(len, lines)):
            return None
        records = list(map(itemgetter(0), read))
        return records if set(map(type, records)) <= {dict, list} else None

    def _one_by_one(
        self, first: int, lines: Sequence[str], line: int
    ) -> tuple[list[Read], list[Rejected]]:
        read: list[Read] = []
        rejected: list[Rejected] = []
        ordinal = first
        for place, text in enumerate(lines, line):
            if not text or text.isspace():
                continue
            message = None
            try:
                record = self._decoder.decode(text)
            except (ValueError, RecursionError):
                message = "is no JSON"
            else:
                if not isinstance(record, dict | list):
                    message = "must be an object or an array"
            if not is_clean(text):
                message = f"can't be decoded as {self._encoding}"
            if message is None:
                read.append((ordinal, place, record))
            else:
                message = f"{self._path}, line {place}: {message}"
                rejected.append(Rejected(ordinal, self._path, place, text, "ParseError", message))
            ordinal += 1
        return read, rejected

    def _chunks(
        self, first: int, numbered: Sequence[Read], rejected: Sequence[Rejected]
    ) -> Iterator[Chunk]:
        """Yield a chunk for each run of records of one shape, with the rejected ones among them."""
        end = first + len(numbered) + len(rejected)
        runs = [list(run) for _, run in groupby(numbered, lambda read: _shape(read[2]))] or [[]]
        for number, run in enumerate(runs):
            following = runs[number + 1][0][0] if number + 1 < len(runs) else end
            ordinals, places, records = zip(*run, strict=True) if run else ((), (), ())
            yield Chunk(
                source=self._path,
                first=first,
                count=following - first,
                ordinals=ordinals,
                places=places,
                columns=_columns(records),
                kind="json",
                named=not records or isinstance(records[0], dict),
                rejected=[each for each in rejected if first <= each.ordinal < following],
            )
            first = following


def _shape(record: Any) -> int:
    return -1 if isinstance(record, dict) else len(record)


def _columns(records: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    if records and isinstance(records[0], list):
        return {str(place): values for place, values in enumerate(zip(*records, strict=True))}
    return columns_of(records)


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """Return the values of `records` by the names that any of them has, None where it has none."""
    names = list(records[0]) if records else []
    try:
        columns: dict[str, Sequence[Any]] = {
            name: list(map(itemgetter(name), records)) for name in names
        }
    except KeyError:
        pass
    else:
        if set(map(len, records)) <= {len(names)}:
            return columns
    names = list(dict.fromkeys(chain.from_iterable(records)))
    return {name: [record.get(name) for record in records] for name in names}
