"""How a worker process gets its session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def open_session(connect: Callable[[], Any], cleanups: ExitStack) -> Any:
    """Return the session that `connect` makes, or gives as a context manager.

    cleanups: lets it go. Raises what `connect` does, TypeError where it makes neither.
    """
    made = connect()
    if not _is_session(made):
        session = cleanups.enter_context(made) if hasattr(made, "__enter__") else made
        if not _is_session(session):
            raise TypeError(
                "connect must return a driver's session, or a context manager that gives one, "
                f"not {type(session).__name__}"
            )
        return session
    cluster: Any = getattr(made, "cluster", None)
    if hasattr(cluster, "shutdown"):  # that of a session for tests has nothing to let go
        cleanups.callback(cluster.shutdown)
    return made


def _is_session(made: Any) -> bool:
    return hasattr(made, "execute") or hasattr(made, "execute_async")
