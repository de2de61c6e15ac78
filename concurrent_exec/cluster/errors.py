"""What goes wrong around a local Cassandra, said in plain words."""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(Exception):
    """A local Cassandra could not be fetched, started or stopped.

    `message` is one plain line; `details` are further lines, such as the reason that the node's
    log gives, and are part of str().
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message, tuple(details))
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {line}" for line in self.details)])


class AlreadyRunningError(ClusterError):
    """The directory already holds a cluster with at least one live node."""
