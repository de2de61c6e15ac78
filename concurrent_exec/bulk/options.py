"""How files are read and how their values are converted, each option checked when it is given."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from concurrent_exec.model.options import boolean, one_of

Format = Literal["csv", "tsv", "jsonl", "parquet", "arrow"]
DELIMITED: tuple[Format, ...] = ("csv", "tsv")
"""The formats whose records are fields between delimiters."""
Missing = Literal["unset", "null"]
TimestampUnit = Literal["s", "ms", "us", "ns"]
BlobFormat = Literal["hex", "base64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How files become records. Raises TypeError or ValueError naming an option that is wrong."""

    format: Format | None = None
    """What the files are; by their names' ends if None. Standard input is looked into, as any pipe
    is."""
    header: bool = True
    """Whether the first record of CSV has the columns' names."""
    delimiter: str | None = None
    """One character between the fields of CSV; a comma if None, a tab for "tsv"."""
    quote: str | None = '"'
    """One character around fields that hold delimiters, line breaks or quotes, which are doubled
    within. None if fields are never quoted."""
    escape: str | None = None
    """One character that takes away the next one's meaning; None if there is none."""
    encoding: str = "utf-8"
    """Of CSV and JSON Lines. A byte order mark at the beginning is left out; that of another
    encoding is refused."""

    def __post_init__(self) -> None:
        if self.format is not None:
            one_of("format", self.format, get_args(Format))
        boolean("header", self.header)
        for name in ("delimiter", "quote", "escape"):
            _check_character(name, getattr(self, name))
        given = [each for each in (self.delimiter, self.quote, self.escape) if each is not None]
        if len(set(given)) < len(given):
            raise ValueError("delimiter, quote and escape must be different characters")
        _check_encoding(self.encoding)

    def check_formats(self, formats: Collection[Format]) -> None:
        """Raise ValueError naming an option that says nothing of files of any of `formats`."""
        for names, told in (
            (("header", "delimiter", "quote", "escape"), DELIMITED),
            (("encoding",), (*DELIMITED, "jsonl")),
        ):
            for name in names:
                default = type(self).__dataclass_fields__[name].default
                if getattr(self, name) != default and not set(told) & set(formats):
                    raise ValueError(
                        f"{name} is of {', '.join(told)}, and the input is "
                        f"{', '.join(sorted(set(formats)))}"
                    )

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON has them."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertingOptions:
    """How texts become values. Raises TypeError or ValueError naming an option that is wrong."""

    nulls: Sequence[str] = ("",)
    """The fields of CSV that are missing values. A string of JSON never is."""
    true: Sequence[str] = ("true",)
    """The words for true, in small or capital letters."""
    false: Sequence[str] = ("false",)
    """The words for false."""
    timestamp_unit: TimestampUnit = "ms"
    """What a timestamp that is a whole number counts, since 1970."""
    timestamp_format: str | None = None
    """Of `datetime.strptime`; ISO 8601 or a whole number if None."""
    date_format: str | None = None
    """Of `datetime.strptime`; ISO 8601 if None."""
    time_format: str | None = None
    """Of `datetime.strptime`; HH:MM:SS with up to nine decimals if None."""
    time_zone: str = "UTC"
    """Of timestamps that name none, as the IANA database has it, such as "Europe/Berlin"."""
    blob: BlobFormat = "hex"
    """How a blob is written: "hex", as 0x and hexadecimal digits, or "base64"."""

    def __post_init__(self) -> None:
        for name in ("nulls", "true", "false"):
            _check_words(name, getattr(self, name))
        both = set(map(str.lower, self.true)) & set(map(str.lower, self.false))
        if both:
            raise ValueError(f"true and false must be different words, not both {both.pop()!r}")
        one_of("timestamp_unit", self.timestamp_unit, get_args(TimestampUnit))
        one_of("blob", self.blob, get_args(BlobFormat))
        for name in ("timestamp_format", "date_format", "time_format"):
            _check_format(name, getattr(self, name))
        self.zone()

    def zone(self) -> tzinfo:
        """Return the time zone."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                "time_zone must be a name of the IANA time zone database, such as "
                f"'Europe/Berlin', not {self.time_zone!r}"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON has them."""
        return asdict(self)


def _check_character(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or len(value) != 1 or value in "\r\n\0"):
        raise ValueError(f"{name} must be one character, no line break, not {value!r}")


def _check_encoding(encoding: Any) -> None:
    try:
        "".encode(encoding)
        # Some know no way to go on where a byte is wrong, such as those of names in the Internet.
        codecs.getincrementaldecoder(encoding)("surrogateescape").decode(b"a")
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"encoding must be one that Python knows, such as 'latin-1', not {encoding!r}"
        ) from None


def _check_format(name: str, value: object) -> None:
    if not isinstance(value, str | None):
        raise TypeError(f"{name} must be a format of strptime, or None")
    if value is None:
        return
    try:
        datetime.strptime("", value)
    except (ValueError, re.error) as error:
        # That nothing is no such date says nothing of the format.
        if not str(error).startswith("time data"):
            raise ValueError(f"{name} must be a format of strptime: {error}") from None


def _check_words(name: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of words, not {type(value).__name__}")
    for word in value:
        if not isinstance(word, str):
            raise TypeError(f"{name} must be a list of words, not of {type(word).__name__}")
