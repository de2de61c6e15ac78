"""Files that a run writes are none of those that it reads, and no two of them are one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def check_apart(written: Iterable[tuple[str, Path | None]], inputs: Iterable[str]) -> None:
    """Raise ValueError where one file is two of these, by whatever names.

    written: what is written, each after what it is called; None for what is not.
    inputs: the paths of what is read.

    Standard input and output, and what is no regular file, such as /dev/null, may be several.
    """
    known = {_identity(path): "an input" for path in inputs}
    for name, path in written:
        identity = None if path is None else _identity(path)
        if identity is None:
            continue
        if identity in known:
            raise ValueError(f"{name} must be a file of its own, and {path} is {known[identity]}")
        known[identity] = f"that of {name}"


def is_special(path: Path) -> bool:
    """Say whether there is something at `path` that is no regular file, nor a folder."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _identity(path: str | Path) -> object:
    """Return what is the same for all names of a file; None for what is none."""
    if str(path) == "-" or is_special(Path(path)):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
