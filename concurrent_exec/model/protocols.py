"""What the library needs of a session; those of both drivers have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

R_co = TypeVar("R_co", covariant=True)


class ResponseFuture(Protocol):
    """The answer to come of one request."""

    def add_callbacks(
        self,
        callback: Callable[..., object],
        errback: Callable[..., object],
        callback_args: tuple[Any, ...] = (),
        callback_kwargs: Any = None,
        errback_args: tuple[Any, ...] = (),
        errback_kwargs: Any = None,
    ) -> object:
        """Have `callback(rows, *callback_args)` or `errback(exc, *errback_args)` called.

        Where the answer is there already, that happens before this returns.
        """

    def clear_callbacks(self) -> object:
        """Forget the callbacks, so that a further page does not call them again."""


class Session(Protocol[R_co]):
    """Sends statements; `R_co` is the type of a statement's result."""

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        """Send `query` and return its `ResponseFuture`."""

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> R_co:
        """Send `query`, wait for the answer and return it, or raise what went wrong."""


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from a start of no meaning."""
