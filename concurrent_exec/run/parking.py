"""A place where threads wait to be woken."""

from __future__ import annotations

from threading import Lock


class Parking:
    """Threads park here, and `wake_all` lets them go.

    A Condition would do, but for two things. Its `__enter__` is Python code: a KeyboardInterrupt
    can strike there with the lock taken and nobody to release it. And it can't be notified
    without the lock, which a finaliser must not take.

    Who wants to wait first takes a ticket, then looks whether there is still reason to wait,
    then acquires the ticket. A ticket that nobody acquires does no harm.
    """

    def __init__(self) -> None:
        self.tickets: list[Lock] = []
        """Of those who may be waiting."""

    def ticket(self) -> Lock:
        """Return a lock that the next `wake_all` opens: `acquire()` it to wait."""
        ticket = Lock()
        ticket.acquire()
        self.tickets.append(ticket)
        return ticket

    def wake_all(self) -> None:
        """Let go all who took a ticket. Takes no lock."""
        while True:
            try:
                ticket = self.tickets.pop()
            except IndexError:
                return
            ticket.release()
