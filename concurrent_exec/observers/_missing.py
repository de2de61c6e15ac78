"""Saying what to install."""

from __future__ import annotations


def missing(observer: str, extra: str, error: ModuleNotFoundError) -> ImportError:
    """Return what to raise where the library of an `observer` is not there."""
    return ImportError(
        f"{observer} needs the package {error.name}: pip install 'concurrent-exec[{extra}]'",
        name=error.name,
    )
