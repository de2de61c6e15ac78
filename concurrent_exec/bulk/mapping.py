"""Which column each marker of a statement takes its values from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from concurrent_exec.bulk.records import InputError
from concurrent_exec.retry.cql import text_of, tokens


class MappingError(InputError):
    """The columns of the input and the markers of the statement don't fit together."""

    def __init__(self, what: str, advice: str = "") -> None:
        """Make one that says `what`, and `advice` on the option that tells which go together."""
        super().__init__(f"{what}{advice}")
        self.what = what


def map_columns(
    prepared: Any, columns: Sequence[str] | int, given: Mapping[str, str] | None = None
) -> list[str]:
    """Return the column of each marker of `prepared`, in their order.

    `columns` are those of a `Source`. Columns with names go to the markers of the same name; so
    many without go to the markers in their order. `given` says of columns, by their names or by
    "0", "1", ..., which marker they go to instead. A column that no marker wants is left alone.

    Raises MappingError, which says what would do.
    """
    markers = [str(column.name) for column in prepared.column_metadata]
    if not markers:
        raise MappingError("the statement has no markers, such as :name or ?, to take values")
    chosen = _chosen(markers, columns, given or {})
    _check_repeated(prepared, markers, positional=isinstance(columns, int) and not given)
    if isinstance(columns, int):
        return _by_position(markers, columns, chosen)
    free = set(columns) - set(chosen.values())
    missing = [name for name in dict.fromkeys(markers) if name not in chosen and name not in free]
    if missing:
        raise MappingError(*_no_column(missing, columns, markers, chosen))
    return [chosen.get(name, name) for name in markers]


def _chosen(
    markers: Sequence[str], columns: Sequence[str] | int, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the column that is given for a marker."""
    chosen: dict[str, str] = {}
    names = list(map(str, range(columns))) if isinstance(columns, int) else columns
    for column, marker in given.items():
        if column not in names:
            raise MappingError(
                f"no column is called {column!r}{_meant(column, names)}: there are "
                f"{', '.join(names)}"
            )
        if marker not in markers:
            raise MappingError(
                f"no marker is called {marker!r}{_meant(marker, markers)}: there are "
                f"{', '.join(dict.fromkeys(markers))}"
            )
        if marker in chosen:
            raise MappingError(
                f"two columns are mapped to the marker {marker!r}: {chosen[marker]} and {column}"
            )
        chosen[marker] = column
    return chosen


def _by_position(markers: Sequence[str], count: int, chosen: Mapping[str, str]) -> list[str]:
    if chosen:
        missing = [name for name in dict.fromkeys(markers) if name not in chosen]
        if missing:
            raise MappingError(f"no column is mapped to the marker {missing[0]!r}")
        return [chosen[name] for name in markers]
    if len(markers) != count:
        raise MappingError(
            f"the records have {count} columns and no names, the statement has {len(markers)} "
            f"markers: {', '.join(markers)}",
            f": map columns to markers{_option('0', markers[0])}",
        )
    return list(map(str, range(count)))


def _no_column(
    missing: Sequence[str],
    columns: Sequence[str],
    markers: Sequence[str],
    chosen: Mapping[str, str],
) -> tuple[str, str]:
    """Return what is wrong, and what would do."""
    free = [name for name in columns if name not in markers and name not in chosen.values()]
    words = ", ".join(f"{name!r}{_meant(name, free)}" for name in missing)
    marker, whom = ("marker", "it") if len(missing) == 1 else ("markers", "them")
    said = f"no column for the {marker} {words}"
    mapped = f"map a column to {whom}{_option('COLUMN', missing[0])}"
    if any(name[:1].isdigit() for name in columns):
        # Not what it has: they are values, by all appearance.
        header = "the first record looks like no header; if it is none say so (--no-header)"
        return f"{said}: {header}", f", else {mapped}"
    if len(columns) == 1 and (delimiters := set(columns[0]) & set(";\t|")):
        (delimiter, *_) = sorted(delimiters)
        mapped += f", or name the delimiter (is it {delimiter!r}?),"
    return (
        f"{said}: there are {', '.join(columns) or 'none'}",
        f"; {mapped} if another one is meant",
    )


def _option(column: str, marker: str) -> str:
    """Return in words how that column is mapped to that marker."""
    return f" (--map {column}={marker}, in Python map={{{column!r}: {marker!r}}})"


def _meant(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name.lower(), [each.lower() for each in names], 1)
    found = [each for each in names if close and each.lower() == close[0]]
    return f" (is it {found[0]!r}?)" if found else ""


def _check_repeated(prepared: Any, markers: Sequence[str], *, positional: bool) -> None:
    """Raise MappingError where a name is several markers', and not because they are one."""
    if positional:
        return
    repeated = {name for name in markers if markers.count(name) > 1}
    for name in sorted(repeated - _named_markers(prepared)):
        raise MappingError(
            f"the statement has several markers {name!r}, which names can't tell apart: give them "
            "names of their own, such as :first and :second"
        )


def _named_markers(prepared: Any) -> set[str]:
    """Return the names that markers have in the statement's text."""
    found: set[str] = set()
    before = ""
    for token in tokens(text_of(prepared) or ""):
        if before == ":":
            found.add(token.text)
        before = token.text
    return found
