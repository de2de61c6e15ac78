"""Where the jars and the state live: the user's XDG base directories."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the folder for what was fetched once: $XDG_CACHE_HOME or ~/.cache."""
    return _base("XDG_CACHE_HOME", ".cache") / "concurrent-exec"


def default_directory() -> Path:
    """Return the folder of the cluster that the command line starts, in the user's state folder."""
    return _base("XDG_STATE_HOME", ".local/state") / "concurrent-exec" / "cassandra"


def _base(variable: str, fallback: str) -> Path:
    # The XDG specification: a value that is not an absolute path is to be ignored.
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / fallback
