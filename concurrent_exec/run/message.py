"""What an executor hands to the session at once: a job, or several that go together."""

from __future__ import annotations

from typing import Any, Protocol

from concurrent_exec.model import Sending


class Message(Protocol):
    """One request; a `Job` is one."""

    parameters: Any
    sending: Sending
    timestamp: int | None
    """Microseconds: the write timestamp of its first send, which later ones keep."""

    @property
    def statement(self) -> Any:
        """What the driver sends."""

    @property
    def settled(self) -> bool:
        """Whether nothing waits for its answer any more."""

    def note_sending(self, now: float, in_flight: int) -> None:
        """Note when it is handed to the session, and how many statements are in flight then."""

    def succeed(self, value: Any) -> None:
        """Settle with the session's result."""

    def fail(self, exc: BaseException, *, sent: bool = True) -> None:
        """Settle with what went wrong; `sent` says whether the session took it."""
