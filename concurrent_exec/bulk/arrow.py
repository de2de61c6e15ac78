"""pyarrow, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def arrow(what: str, module: str = "pyarrow") -> Any:
    """Return pyarrow, or a module of it; raises ImportError saying that `what` needs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} needs the package pyarrow: pip install 'concurrent-exec[bulk]'",
            name=error.name,
        ) from error
