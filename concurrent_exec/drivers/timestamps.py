"""A statement that is sent again keeps the write timestamp of its first send.

A driver gives each request a timestamp of its own when it is made. An old write that is sent again
would so overwrite a newer one of the same row that came between. Both drivers call the listeners
of a session with each request before it is sent, and what a listener sets as its message's
`timestamp` is what goes to the server. A USING TIMESTAMP in the statement's text comes before it
there, so such statements need no care (native protocol, QUERY and EXECUTE, "default timestamp").
"""

from __future__ import annotations

from threading import local
from typing import Any

from concurrent_exec.run import Message


class _Expected(local):
    message: Message | None = None


class FirstTimestamps:
    """Listens to the requests of one session, and touches only those it was told to expect."""

    def __init__(self, session: Any) -> None:
        """Begin to listen.

        Raises TypeError where the session has no listeners: sending a write again could then
        bring an old value back.
        """
        if not hasattr(session, "add_request_init_listener"):
            raise TypeError(
                "to send again, as retry and batches do, needs a session whose requests can be "
                "listened to, so that an old write does not overwrite a newer one; "
                f"{type(session).__name__} has no add_request_init_listener"
            )
        self._expected = _Expected()
        self._session = session
        self._listens = True
        session.add_request_init_listener(self._on_request)

    def expect(self, message: Message | None) -> None:
        """Take the next request of this thread for that of `message`; with None, for nobody's."""
        self._expected.message = message

    def close(self) -> None:
        """Listen no more."""
        if self._listens:
            self._listens = False
            try:
                self._session.remove_request_init_listener(self._on_request)
            except ValueError:  # removed by somebody else, or by another thread just now
                pass

    def _on_request(self, response_future: Any) -> None:
        # Once only: completions within execute_async may send requests that are not ours.
        ours, self._expected.message = self._expected.message, None
        if ours is None:
            return
        request = getattr(response_future, "message", None)
        timestamp = getattr(request, "timestamp", None)
        if timestamp is None:  # the server makes it: the session has use_client_timestamp off
            return
        if ours.timestamp is None:
            ours.timestamp = timestamp
        else:
            request.timestamp = ours.timestamp  # type: ignore[union-attr]
