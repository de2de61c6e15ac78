"""Numbers, texts, booleans, UUIDs, addresses and bytes."""

from __future__ import annotations

import math
import re
import struct
from binascii import a2b_base64, unhexlify
from collections.abc import Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from operator import index
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any
from uuid import UUID

from concurrent_exec.bulk.converting import Conversion, each_once, plain
from concurrent_exec.bulk.lines import is_clean
from concurrent_exec.bulk.options import ConvertingOptions

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_FINITE_NUMBER = re.compile(r"[+-]?inf(inity)?|nan", re.I | re.ASCII)
_MOST_DIGITS = 4300
"""Of an integer that is no text, as of one that is: Python reads no longer ones. A power of ten
that is written in a few letters would keep it busy for hours."""
_INT32 = range(-(2**31), 2**31)


class Integer(Conversion):
    """Whole numbers: as Python has them, but without underscores and digits of other scripts."""

    def __init__(self, cql: str, bits: int | None) -> None:
        super().__init__(cql)
        self._range = None if bits is None else range(-(2 ** (bits - 1)), 2 ** (bits - 1))

    def text(self, text: str) -> int:
        """See `Conversion`."""
        if _INTEGER.fullmatch(text) is None:
            raise self.wrong()
        return self._in_range(int(text))

    def texts(self, texts: Sequence[str]) -> Sequence[int]:
        """See `Conversion`."""
        return self._all_in_range(plain_integers(texts))

    def value(self, value: Any) -> int:
        """See `Conversion`. Whole numbers may come as floats: so a frame has them with gaps."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool):
            raise self.wrong()
        if isinstance(value, Decimal) and value.is_finite() and value.adjusted() >= _MOST_DIGITS:
            raise self.wrong(f"of at most {_MOST_DIGITS} digits")
        if isinstance(value, float | Decimal):
            if value != (whole := int(value)):
                raise self.wrong()
            return self._in_range(whole)
        return self._in_range(index(value))

    def values(self, values: Sequence[Any]) -> Sequence[int]:
        """See `Conversion`."""
        if set(map(type, values)) == {int}:
            return self._all_in_range(values)
        return super().values(values)

    def _in_range(self, value: int) -> int:
        if self._range is not None and value not in self._range:
            raise self.wrong(f"from {self._range[0]} to {self._range[-1]}")
        return value

    def _all_in_range(self, values: Sequence[int]) -> Sequence[int]:
        if values and self._range is not None:
            self._in_range(min(values))
            self._in_range(max(values))
        return values


def plain_integers(texts: Sequence[str]) -> list[int]:
    """Return the whole numbers that `texts` are; raises ValueError if one is none."""
    characters = "".join(texts)
    if not (characters.isdecimal() and characters.isascii()):
        # Signs in wrong places are found by int.
        digits = characters.replace("-", "").replace("+", "")
        if digits and not (digits.isdecimal() and digits.isascii()):
            raise ValueError
    return list(map(int, texts))


class Float(Conversion):
    """Floating point numbers of 32 or 64 bits: "NaN" and "Infinity" are, what overflows is not."""

    def __init__(self, cql: str, packed: str) -> None:
        super().__init__(cql)
        self._pack = struct.Struct(packed).pack

    def text(self, text: str) -> float:
        """See `Conversion`."""
        if _NUMBER.fullmatch(text) is not None:
            return self._in_range(float(text))
        if _NO_FINITE_NUMBER.fullmatch(text) is not None:
            return float(text)
        raise self.wrong()

    def texts(self, texts: Sequence[str]) -> Sequence[float]:
        """See `Conversion`."""
        characters = "".join(texts)
        if "_" in characters or " " in characters or not characters.isascii():
            raise ValueError
        if not characters.isprintable():  # other white space is not
            raise ValueError
        return self._all_in_range(list(map(float, texts)))

    def value(self, value: Any) -> float:
        """See `Conversion`."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self.wrong()
        is_infinite = value.is_infinite() if isinstance(value, Decimal) else math.isinf(value)
        return float(value) if is_infinite else self._in_range(float(value))

    def values(self, values: Sequence[Any]) -> Sequence[float]:
        """See `Conversion`."""
        if set(map(type, values)) == {float}:
            return self._all_in_range(values)
        return super().values(values)

    def _in_range(self, number: float) -> float:
        try:
            self._pack(number)
            overflown = math.isinf(number)
        except OverflowError:
            overflown = True
        if overflown:
            most = "3.4e38" if self.cql == "float" else "1.8e308"
            raise self.wrong(f"from -{most} to {most}")
        return number

    def _all_in_range(self, numbers: Sequence[float]) -> Sequence[float]:
        if numbers and not math.isfinite(sum(numbers)):
            raise ValueError  # perhaps: one by one tells
        if numbers:
            self._pack(min(numbers))
            self._pack(max(numbers))
        return numbers


class DecimalNumber(Conversion):
    """Decimals with all their digits, also the last zeros."""

    def text(self, text: str) -> Decimal:
        """See `Conversion`."""
        if _NUMBER.fullmatch(text) is None:
            raise self.wrong()
        return self._in_range(Decimal(text))

    def texts(self, texts: Sequence[str]) -> Sequence[Decimal]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> Decimal:
        """See `Conversion`. A float is taken for the shortest decimal that it is read from."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self.wrong()
        if isinstance(value, float):
            value = repr(float(value))  # not as a subclass shows itself
        return self._in_range(Decimal(value))

    def _in_range(self, value: Decimal) -> Decimal:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise self.wrong("which has no infinity and no NaN")
        if -exponent not in _INT32:
            raise self.wrong(f"whose scale is from {_INT32[0]} to {_INT32[-1]}")
        return value


class Boolean(Conversion):
    """True and false, by the words that are theirs."""

    def __init__(self, cql: str, options: ConvertingOptions) -> None:
        super().__init__(cql)
        words = {word.lower(): False for word in options.false}
        words |= {word.lower(): True for word in options.true}
        self._words = words
        self._spelled = {
            spelled: truth
            for word, truth in words.items()
            for spelled in (word, word.upper(), word.capitalize())
        }

    def text(self, text: str) -> bool:
        """See `Conversion`."""
        return self._words[text.lower()]

    def texts(self, texts: Sequence[str]) -> Sequence[bool]:
        """See `Conversion`."""
        return list(map(self._spelled.__getitem__, texts))

    def value(self, value: Any) -> bool:
        """See `Conversion`."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, bool):
            raise self.wrong()
        return value

    def values(self, values: Sequence[Any]) -> Sequence[bool]:
        """See `Conversion`."""
        return values if set(map(type, values)) == {bool} else super().values(values)


class Text(Conversion):
    """Texts as they are."""

    def __init__(self, cql: str, *, ascii_only: bool = False) -> None:
        super().__init__(cql)
        self._fits = str.isascii if ascii_only else is_clean

    def text(self, text: str) -> str:
        """See `Conversion`."""
        if not self._fits(text):
            raise self.wrong()
        return text

    def texts(self, texts: Sequence[str]) -> Sequence[str]:
        """See `Conversion`."""
        self.text("".join(texts))
        return texts

    def value(self, value: Any) -> str:
        """See `Conversion`."""
        if not isinstance(value, str):
            raise self.wrong()
        return self.text(value)


class Blob(Conversion):
    """Bytes, in texts as "0x" and hexadecimal digits, or in base64."""

    def __init__(self, cql: str, options: ConvertingOptions) -> None:
        super().__init__(cql)
        self._is_hex = options.blob == "hex"

    def text(self, text: str) -> bytes:
        """See `Conversion`."""
        if not self._is_hex:
            return a2b_base64(text, strict_mode=True) if text else b""
        if not text.startswith(("0x", "0X")):
            raise self.wrong("0x and hexadecimal digits")
        return unhexlify(text[2:])

    def value(self, value: Any) -> bytes:
        """See `Conversion`."""
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, bytes | bytearray | memoryview):
            raise self.wrong()
        return bytes(value)

    def values(self, values: Sequence[Any]) -> Sequence[bytes]:
        """See `Conversion`."""
        return values if set(map(type, values)) == {bytes} else super().values(values)


class Uuid(Conversion):
    """UUIDs, of any version or of version 1."""

    def __init__(self, cql: str, *, version: int | None = None) -> None:
        super().__init__(cql)
        self._version = version

    def text(self, text: str) -> UUID:
        """See `Conversion`."""
        return self._of_version(UUID(text))

    def texts(self, texts: Sequence[str]) -> Sequence[UUID]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> UUID:
        """See `Conversion`."""
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, UUID):
            raise self.wrong()
        return self._of_version(value)

    def _of_version(self, value: UUID) -> UUID:
        if self._version is not None and value.version != self._version:
            raise self.wrong(f"a UUID of version {self._version}")
        return value


class Inet(Conversion):
    """Addresses of IPv4 and IPv6."""

    def text(self, text: str) -> str:
        """See `Conversion`."""
        family = AF_INET6 if ":" in text else AF_INET
        return inet_ntop(family, inet_pton(family, text))

    def texts(self, texts: Sequence[str]) -> Sequence[str]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> str:
        """See `Conversion`."""
        if not isinstance(value, str | IPv4Address | IPv6Address):
            raise self.wrong()
        return self.text(str(value))
