"""The lines of a text, some thousand at a time."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concurrent_exec.bulk.files import BLOCK, UNREADABLE, File, reason
from concurrent_exec.bulk.records import InputError

LONGEST = 128 * 1024 * 1024
"""Characters of the longest record: what never ends must not fill the memory. No node takes more
in one statement."""


@dataclass(slots=True)
class Block:
    """Lines on end."""

    first: int
    """The number of the first one, from 1."""
    lines: list[str]
    """With what ends them."""
    suspect: bool
    """Whether bytes among them could not be decoded. Each stands as a surrogate, as PEP 383 has
    it."""
    marked: bool
    """Whether there is any of the marks that were looked for."""


def blocks(file: File, encoding: str, newline: str, marks: Sequence[str] = ()) -> Iterator[Block]:
    """Yield the lines of `file`.

    What ends a line is "\\n" alone if that is `newline`, also "\\r" and "\\r\\n" if it is "".

    Raises InputError where the file can't be read on.
    """
    first = 1
    try:
        for text in _whole_lines(file, encoding, newline):
            lines = io.StringIO(text, newline=newline).readlines()
            yield Block(first, lines, not is_clean(text), any(mark in text for mark in marks))
            first += len(lines)
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
    begun = ended = False
    while not ended:
        data = stream.read1(BLOCK)
        ended = not data
        text = decoder.decode(data, final=ended)
        if text:
            yield text if begun else text.removeprefix("\ufeff")
            begun = True
