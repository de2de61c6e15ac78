"""Timestamps, dates, times of day and durations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cassandra.util import Date, Duration, Time

from concurrent_exec.bulk.converting import Conversion, each_once, plain
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.scalars import Integer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAYS_BEFORE_EPOCH = date(1970, 1, 1).toordinal()
_FACTORS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_SECOND = 10**9
_DAY = 24 * 3600 * _SECOND


class Timestamp(Conversion):
    """Milliseconds since 1970, from ISO 8601, a format, or a number in another unit.

    What is finer than a millisecond is cut off, towards the past, as the type has no place for it.
    """

    def __init__(self, cql: str, options: ConvertingOptions) -> None:
        super().__init__(cql)
        self._format = options.timestamp_format
        self._zone = options.zone()
        self._factor, self._divisor = _FACTORS[options.timestamp_unit]
        self._integer = Integer(cql, 64)

    def text(self, text: str) -> int:
        """See `Conversion`."""
        if self._format is not None:
            return self._since_epoch(datetime.strptime(text, self._format))
        if text.lstrip("+-").isdecimal():
            return self._number(self._integer.text(text))
        return self._since_epoch(datetime.fromisoformat(text))

    def texts(self, texts: Sequence[str]) -> Sequence[int]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> int:
        """See `Conversion`."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, datetime):
            return self._since_epoch(value)
        if isinstance(value, date):
            return self._since_epoch(datetime(value.year, value.month, value.day))
        return self._number(self._integer.value(value))

    def refusal(self, error: Exception) -> str:
        """See `Conversion`."""
        return _refusal(super().refusal(error), error, self._format or "of ISO 8601")

    def _number(self, number: int) -> int:
        return self._integer.value(number * self._factor // self._divisor)

    def _since_epoch(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return int((moment - _EPOCH) // _MILLISECOND)


class Day(Conversion):
    """Dates of the proleptic Gregorian calendar, years 1 to 9999."""

    def __init__(self, cql: str, options: ConvertingOptions) -> None:
        super().__init__(cql)
        self._format = options.date_format

    def text(self, text: str) -> Date:
        """See `Conversion`."""
        if self._format is not None:
            return _day(datetime.strptime(text, self._format))
        return _day(date.fromisoformat(text))

    def texts(self, texts: Sequence[str]) -> Sequence[Date]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> Date:
        """See `Conversion`. A frame may have a date as the midnight that it begins with."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Date):
            return value
        if not isinstance(value, date):
            raise self.wrong()
        if isinstance(value, datetime) and value.time() != time():
            raise self.wrong("without a time of day")
        return _day(value)

    def refusal(self, error: Exception) -> str:
        """See `Conversion`."""
        return _refusal(super().refusal(error), error, self._format or "YYYY-MM-DD")


def _refusal(said: str, error: Exception, form: str) -> str:
    """Name the form where a text was not in it: what `strptime` and `fromisoformat` raise."""
    return f"{said}, in the form {form}" if type(error) is ValueError else said


def _day(day: date) -> Date:
    return Date(day.toordinal() - _DAYS_BEFORE_EPOCH)


class TimeOfDay(Conversion):
    """Times of day, to the nanosecond."""

    _TEXT = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?", re.ASCII)

    def __init__(self, cql: str, options: ConvertingOptions) -> None:
        super().__init__(cql)
        self._format = options.time_format

    def text(self, text: str) -> Time:
        """See `Conversion`."""
        if self._format is not None:
            return Time(datetime.strptime(text, self._format).time())
        match = self._TEXT.fullmatch(text)
        if match is None:
            raise self.wrong()
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if hour > 23 or minute > 59 or second > 59:
            raise self.wrong("from 00:00 to 23:59:59.999999999")
        nanoseconds = int((match[4] or "").ljust(9, "0"))
        return Time(((hour * 60 + minute) * 60 + second) * _SECOND + nanoseconds)

    def texts(self, texts: Sequence[str]) -> Sequence[Time]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> Time:
        """See `Conversion`. A number counts nanoseconds since midnight."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Time):
            return value
        if isinstance(value, time) and value.tzinfo is None:
            return Time(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong()
        if value not in range(_DAY):
            raise self.wrong(f"from 0 to {_DAY - 1} nanoseconds")
        return Time(value)


class Span(Conversion):
    """Durations: months, days and nanoseconds.

    Texts are those of CQL: "1y2mo3d4h5m6s7ms8us9ns", "P1Y2M3DT4H5M6S", "P3W" or
    "P0001-02-03T04:05:06".
    """

    _UNITS = (
        r"(?:(?P<y>\d+)y)?(?:(?P<mo>\d+)mo)?(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?"
        r"(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?(?:(?P<us>\d+)[uµ]s)?(?:(?P<ns>\d+)ns)?"
    )
    _ISO = (
        r"P(?:(?P<y>\d+)Y)?(?:(?P<mo>\d+)M)?(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
        r"(?:T(?=\d)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)S)?)?"
    )
    _ALTERNATIVE = (
        r"P(?P<y>\d{4})-(?P<mo>\d{2})-(?P<d>\d{2})T(?P<h>\d{2}):(?P<m>\d{2}):(?P<s>\d{2})"
    )
    _FORMS = (
        re.compile(_UNITS, re.ASCII | re.IGNORECASE),
        re.compile(_ISO, re.ASCII),
        re.compile(_ALTERNATIVE, re.ASCII),
    )

    def text(self, text: str) -> Duration:
        """See `Conversion`."""
        positive = text.removeprefix("-")
        match = next((found for form in self._FORMS if (found := form.fullmatch(positive))), None)
        counts = (
            {unit: int(count) for unit, count in match.groupdict().items() if count}
            if match
            else {}
        )
        if not counts:
            raise self.wrong()

        def total(**factors: int) -> int:
            return sum(counts.get(unit, 0) * factor for unit, factor in factors.items())

        months, days = total(y=12, mo=1), total(w=7, d=1)
        nanoseconds = total(h=3600 * _SECOND, m=60 * _SECOND, s=_SECOND, ms=10**6, us=1000, ns=1)
        sign = -1 if text.startswith("-") else 1
        return self._in_range(sign * months, sign * days, sign * nanoseconds)

    def texts(self, texts: Sequence[str]) -> Sequence[Duration]:
        """See `Conversion`."""
        return each_once(self.text, texts)

    def value(self, value: Any) -> Duration:
        """See `Conversion`. A timedelta is its length of time, without a calendar's days."""
        value = plain(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Duration) or (
            hasattr(value, "nanoseconds") and hasattr(value, "months")
        ):
            return self._in_range(value.months, value.days, value.nanoseconds)
        if not isinstance(value, timedelta):
            raise self.wrong()
        return self._in_range(0, 0, value // timedelta(microseconds=1) * 1000)

    def _in_range(self, months: int, days: int, nanoseconds: int) -> Duration:
        if max(abs(months), abs(days)) >= 2**31 or abs(nanoseconds) >= 2**63:
            raise self.wrong("of less than 2^31 months and days and 2^63 nanoseconds")
        return Duration(months, days, nanoseconds)
