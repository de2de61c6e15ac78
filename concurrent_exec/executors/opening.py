"""How a worker process gets its session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def open_session(connect: Callable[[], Any], cleanups: ExitStack) -> Any:
    """Return the session that `connect` makes, or gives as a context manager.

    cleanups: lets it go. Raises what `connect` does.
    """
    session = connect()
    if not (hasattr(session, "execute") or hasattr(session, "execute_async")):
        return cleanups.enter_context(session)
    if hasattr(session, "cluster"):
        cleanups.callback(session.cluster.shutdown)
    return session
