"""The parameters of a prepared statement, from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.mapping import MappingError
from concurrent_exec.bulk.records import InputError
from concurrent_exec.bulk.sources import open_source


def read_parameters(path: Path, statement: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the parameters for `statement`, a prepared one, of each record of the file at `path`.

    What is missing is null.

    Raises InputError, with file, line and column, for the first record that has none.
    """
    source = open_source([str(path)])
    try:
        binding = Binding(statement, source.columns, missing="null")
    except MappingError as error:
        raise InputError(f"{path}: {error.what}") from None
    for chunk in source.chunks():
        ordinals, parameters, rejected = binding.bind(chunk)
        wrong = min([*chunk.rejected, *rejected], key=lambda each: each.ordinal, default=None)
        for ordinal, each in zip(ordinals, parameters, strict=True):
            if wrong is not None and wrong.ordinal < ordinal:
                break
            yield each
        if wrong is not None:
            raise InputError(wrong.message)
