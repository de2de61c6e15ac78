"""What waits for one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.go import Target
    from concurrent_exec.drivers.direct.plan import Framed
    from concurrent_exec.drivers.direct.wire import SessionWire
    from concurrent_exec.run import Message


class Request:
    """One message in flight on a connection; the connection calls it with the answer."""

    __slots__ = ("body", "message", "plan", "sent_at", "stream", "target", "timestamp", "wire")

    stream: int

    def __init__(
        self,
        wire: SessionWire,
        message: Message,
        plan: Framed,
        target: Target,
        body: bytes,
        timestamp: int | None,
        sent_at: float,
    ) -> None:
        self.wire = wire
        self.message = message
        self.plan = plan
        self.target = target
        self.body = body
        self.timestamp = timestamp
        self.sent_at = sent_at

    @property
    def deadline(self) -> float:
        """When it has timed out, by the monotonic clock."""
        return self.sent_at + self.plan.timeout

    def __call__(self, response: Any) -> None:
        self.wire.answered(self, response)
