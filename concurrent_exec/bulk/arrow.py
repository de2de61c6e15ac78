"""pyarrow, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from concurrent_exec.bulk.records import InputError


class MissingPackageError(InputError, ImportError):
    """An input needs a package that is not installed; the message says which."""


def arrow(what: str, module: str = "pyarrow") -> Any:
    """Return pyarrow, or a module of it.

    Raises MissingPackageError saying that `what` needs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{what} needs the package pyarrow: pip install 'concurrent-exec[bulk]'"
        ) from error
