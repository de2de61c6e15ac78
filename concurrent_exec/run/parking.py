"""A place where threads wait to be woken."""

from __future__ import annotations

from threading import Lock
from typing import Protocol


class Ticket(Protocol):
    """What `wake_all` opens."""

    def release(self) -> None:
        """Let go who waits. It is called once, by any thread, even within a finaliser."""


class Parking:
    """Threads park here, and `wake_all` lets them go.

    A Condition would do, but for two things. Its `__enter__` is Python code: a KeyboardInterrupt
    can strike there with the lock taken and nobody to release it. And it can't be notified
    without the lock, which a finaliser must not take.

    Who wants to wait first takes a ticket, then looks whether there is still reason to wait,
    then acquires the ticket. A ticket that nobody acquires does no harm.
    """

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        """Of those who may be waiting."""

    def ticket(self) -> Lock:
        """Return a lock that the next `wake_all` opens: `acquire()` it to wait."""
        ticket = Lock()
        ticket.acquire()
        self.park(ticket)
        return ticket

    def park(self, ticket: Ticket) -> None:
        """Have the next `wake_all` open a ticket of another kind."""
        self.tickets.append(ticket)

    def wake_all(self) -> None:
        """Let go all who took a ticket. Takes no lock."""
        while True:
            try:
                ticket = self.tickets.pop()
            except IndexError:
                return
            ticket.release()
