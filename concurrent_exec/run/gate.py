"""The permits of one executor, and whose turn it is to use the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from threading import Lock
from typing import Any

from concurrent_exec.run.job import Job
from concurrent_exec.run.parking import Parking


class Work(ABC):
    """A source of jobs that shares a gate: a run, or the queue behind `submit`.

    Its methods marked "lock held" are called under the gate's lock, and run no code of the
    user's: not a call, and not the finaliser of anything they let go.
    """

    gate: Gate
    send_options: dict[str, Any]
    has_turn = False
    """Whether it stands in the gate's queue; the gate's own note."""

    @abstractmethod
    def next_job(self) -> Job | None:
        """Return a job to send now, or None. Lock held."""

    @abstractmethod
    def queued(self) -> int:
        """Return how many jobs are pulled and not sent. Lock held."""

    @abstractmethod
    def settle(self, job: Job, success: bool, value: Any) -> None:
        """Take the first outcome of `job`, ignore any other. Never raises."""


class Gate:
    """At most `limit` jobs in flight, shared by turns among all that have something to send."""

    def __init__(self, limit: int) -> None:
        self.lock = Lock()
        self.limit = limit
        self.in_flight = 0
        self.telling = 0
        """Outcomes that are settled, and whose futures are about to be resolved."""
        self.idle = Parking()
        """Where those wait who want to see nothing in flight and nothing queued."""
        self._turns: deque[Work] = deque()

    def enqueue(self, work: Work) -> None:
        """Give `work` a turn, as it may have something to send. Lock held."""
        if not work.has_turn:
            work.has_turn = True
            self._turns.append(work)

    def may_take(self) -> bool:
        """Say whether `take` is worth calling; a hint that needs no lock."""
        return bool(self._turns) and self.in_flight < self.limit

    def take(self) -> Job | None:
        """Return the next job together with a permit to send it, or None where there is none.

        Whoever gets a job must see to it that it settles: that gives the permit back.
        """
        gone: list[Work] = []  # outlives the lock: the last reference to a run may be its turn
        with self.lock:
            turns = self._turns
            while turns and self.in_flight < self.limit:
                work = turns[0]
                job = work.next_job()
                if job is None:
                    gone.append(turns.popleft())
                    work.has_turn = False
                else:
                    if len(turns) > 1:
                        turns.rotate(-1)
                    self.in_flight += 1
                    job.attempts += 1
                    return job
            self._tell_if_idle()
        return None

    def give_back(self) -> None:
        """Return a permit. Lock held."""
        self.in_flight -= 1
        self._tell_if_idle()

    def is_idle(self) -> bool:
        """Say whether nothing is in flight, queued or being told of. Lock held."""
        return not self.in_flight and not self.telling and not self.queued()

    def queued(self) -> int:
        """Return how many jobs are pulled and wait for a permit. Lock held."""
        return sum(work.queued() for work in self._turns)

    def told(self) -> None:
        """Note that a future has been resolved."""
        with self.lock:
            self.telling -= 1
            self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if self.idle.occupied and self.is_idle():
            self.idle.wake_all()
