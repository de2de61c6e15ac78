"""The lines of a text, some thousand at a time."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from functools import cached_property

from concurrent_exec.bulk.files import UNREADABLE, File, reason
from concurrent_exec.bulk.records import InputError

BLOCK = 64 * 1024
"""Bytes that are decoded, cut and converted at a time. With four times as many a record of many
columns costs half as much again: the values of a block no longer stay in the processor's cache."""
LONGEST = 128 * 1024 * 1024
"""Characters of the longest record: what never ends must not fill the memory. No node takes more
in one statement."""

_LONGEST_MARK = 4
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # which begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that have them."""


class Block:
    """Lines on end."""

    def __init__(self, first: int, text: str, newline: str) -> None:
        self.first = first
        """The number of the first line, from 1."""
        self.text = text
        self._newline = newline

    @cached_property
    def lines(self) -> list[str]:
        """The lines, with what ends them."""
        return io.StringIO(self.text, newline=self._newline).readlines()

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.first + len(self.lines) - 1

    @cached_property
    def is_suspect(self) -> bool:
        """Whether bytes could not be decoded. Each stands as a surrogate, as PEP 383 has it."""
        return not is_clean(self.text)


def blocks(file: File, encoding: str, newline: str) -> Iterator[Block]:
    """Yield the lines of `file`.

    What ends a line is "\\n" alone if that is `newline`, also "\\r" and "\\r\\n" if it is "".

    Raises InputError where the file can't be read on.
    """
    first = 1
    try:
        for text in _whole_lines(file, encoding, newline):
            yield Block(first, text, newline)
            first += _count_lines(text, newline)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file.path}, line {first} or later: can't be decoded as {encoding}: {error.reason}"
        ) from None
    except UNREADABLE as error:
        raise InputError(f"{file.path}, line {first} or later: {reason(error)}") from error
    except _TooLongError:
        raise InputError(
            f"{file.path}, line {first}: has more than {LONGEST:,} characters"
        ) from None


def _count_lines(text: str, newline: str) -> int:
    if newline == "\n":
        return text.count("\n") + (not text.endswith("\n"))
    return line_ends(text) + (not text.endswith(("\n", "\r")))


def line_ends(text: str) -> int:
    """Return how many lines end in `text`, by "\\n", "\\r" or both together."""
    return text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)


class _TooLongError(Exception):
    pass


def is_clean(text: str) -> bool:
    """Return whether all of `text` can be encoded, so that it came from bytes that could be
    decoded."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole_lines(file: File, encoding: str, newline: str) -> Iterator[str]:
    """Yield texts that end where a line ends, or the file."""
    kept: list[str] = []
    length = 0
    for text in _texts(file, encoding):
        end = text.rfind("\n") + 1
        if not end and newline == "" and "\r" in text[:-1]:
            # Nobody knows yet whether one at the end is the first half of a line's end.
            end = text.rindex("\r", 0, -1) + 1
        if end:
            yield "".join((*kept, text[:end]))
            kept, length = [], 0
            text = text[end:]
        kept.append(text)
        length += len(text)
        if length > LONGEST:
            raise _TooLongError
    rest = "".join(kept)
    if rest:
        yield rest


def _texts(file: File, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    stream = file.open()
    data = stream.read(_LONGEST_MARK)
    _check_mark(file.path, data, encoding)
    begun = ended = False
    while not ended:
        data = data or stream.read1(BLOCK)
        ended = not data
        text = decoder.decode(data, final=ended)
        if text:
            yield text if begun else text.removeprefix("\ufeff")
            begun = True
        data = b""


def _check_mark(path: str, start: bytes, encoding: str) -> None:
    """Raise InputError where the mark that a file begins with is another encoding's."""
    name = codecs.lookup(encoding).name
    for mark, family in _MARKS:
        if start.startswith(mark):
            if not name.startswith(family):
                raise InputError(
                    f"{path}: begins with the byte order mark of {family}, which makes it no "
                    f"{encoding}: give {family} as the encoding"
                )
            return
