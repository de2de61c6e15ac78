"""The files that are loaded and converted, the same each time."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

from demo.data import flights_archive

_TEXT = 48


def write_key_values(path: Path, count: int, prefix: str = "") -> None:
    """Write so many records of an id, which is a number behind `prefix`, and 48 bytes of text."""
    drawn = random.Random(1)
    with path.open("w", encoding="ascii") as file:
        file.write("id,value\n")
        file.writelines(f"{prefix}{n},{drawn.randbytes(_TEXT // 2).hex()}\n" for n in range(count))


def write_flights(path: Path, count: int | None = None) -> int:
    """Write the first `count` flights, or all, out of the package that brings them; return how
    many there are."""
    with zipfile.ZipFile(flights_archive()) as packed:
        lines = packed.read("flights.csv").splitlines(keepends=True)
    lines = lines if count is None else lines[: count + 1]
    path.write_bytes(b"".join(lines))
    return len(lines) - 1
