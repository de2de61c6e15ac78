"""What a run has done, in a small file that is replaced as a whole and survives any death."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.appending import open_private
from concurrent_exec.bulk.errors import ChangedError, JournalError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known to be done at one moment, and on the disk."""

    done: int = 0
    """All records before this ordinal are settled."""
    beyond: tuple[tuple[int, int], ...] = ()
    """Ranges beyond it that are settled, too: the first ordinal and the one after the last."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """How many bytes of each file that the run writes belong to these records."""
    counts: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    """How many failed, by the kind of their error."""
    seconds: float = 0.0
    """How long it has taken, over all runs."""
    finished: bool = False
    """Whether the whole input is settled."""


class Journal:
    """The checkpoint of a run: who it is, and the last entry."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Make one at `path`, which nothing is written to yet.

        identity: what must not change before the run is resumed, by names for messages; values
            as JSON has them.
        """
        self.path = path
        self._identity = json.loads(json.dumps(identity))

    def resumed(self) -> Entry | None:
        """Return the last entry, or None where there is none.

        Raises ChangedError, with the reason, where it is that of another run; JournalError where
        it can't be read.
        """
        known = read(self.path)
        if known is None:
            return None
        differences = list(_differences(known["identity"], self._identity))
        if differences:
            raise ChangedError(self.path, differences)
        return _entry(self.path, known)

    def write(self, entry: Entry) -> None:
        """Replace the last entry. It is on the disk on return. Raises OSError."""
        state = {"format": _FORMAT, "identity": self._identity, **asdict(entry)}
        new = self.path.with_name(self.path.name + ".new")
        try:
            with open(new, "w", encoding="utf-8", opener=open_private) as file:
                json.dump(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def forget(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return what the journal at `path` has, or None where there is none.

    Raises JournalError where it is no journal.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise JournalError(path) from None
    try:
        state = json.loads(text)
    except ValueError:
        raise JournalError(path) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise JournalError(path)
    return state


def entry_at(path: Path) -> Entry | None:
    """Return the last entry of whatever run has its journal at `path`; None for none."""
    state = read(path)
    return None if state is None else _entry(path, state)


def _entry(path: Path, state: Mapping[str, Any]) -> Entry:
    try:
        entry = Entry(**{name: state[name] for name in Entry.__dataclass_fields__})
        return replace(entry, beyond=tuple((first, end) for first, end in entry.beyond))
    except (KeyError, TypeError, ValueError):
        raise JournalError(path) from None


def sync_folder(folder: Path) -> None:
    """Have a folder's names brought to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _differences(before: Any, now: Any, name: str = "") -> Any:
    """Yield a line for each thing that differs, by its name."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(
                before.get(key), now.get(key), f"{name}, {key}" if name else str(key)
            )
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for each_before, each_now in zip(before, now, strict=True):
            yield from _differences(each_before, each_now, name)
    elif before != now:
        yield f"{name} was {_short(before)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:297] + "..."
