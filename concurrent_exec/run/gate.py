"""The permits of one executor, and whose turn it is to use the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from concurrent_exec.model import Clock, CountingLimiter, Limiter
from concurrent_exec.model.options import positive_int
from concurrent_exec.pacing import Rate
from concurrent_exec.retry import is_overload
from concurrent_exec.run.errors import ErrorCounts
from concurrent_exec.run.job import Job
from concurrent_exec.run.message import Message
from concurrent_exec.run.parking import Parking
from concurrent_exec.run.watch import News

if TYPE_CHECKING:
    from concurrent_exec.run.work import Work

SHORTEST_PAUSE = 0.002
"""Seconds between two looks for what the rate allows: waking a thread for each would be dear."""


class Gate:
    """At most `limit` jobs in flight, shared by turns among all that have something to send.

    limiter: says what the limit is from now on, as it is told how attempts went.
    rate: how often a job may leave, whatever the limit.
    find_launch: returns what sends what may be sent, or None where the executor has gone; it is
        asked rather than kept, because the executor refers to the gate.
    """

    def __init__(
        self,
        limit: int | Limiter,
        *,
        clock: Clock,
        rate: Rate | None = None,
        find_launch: Callable[[], Callable[[], None] | None] = lambda: None,
    ) -> None:
        self.lock = Lock()
        self.clock = clock
        self.limiter = None if isinstance(limit, int) else limit
        self.limit = limit if isinstance(limit, int) else limit.limit
        self.highest = self.limit
        """The highest that the limit has been."""
        self.in_flight = 0
        self.telling = 0
        """How much is done of which something is still to be told: outcomes, to their futures, a
        retry policy or the limiter; that the rate allows nothing, to the clock."""
        self.idle = Parking()
        """Where those wait who want to see nothing in flight and nothing queued."""
        self.turns: deque[Work] = deque()
        """Those that may have something to send; whose turn is next stands first."""
        self._resting: set[Work] = set()
        """Those that have jobs waiting for their time to be sent again."""
        self._rate = rate
        self._holding_back = False
        """Whether the rate allows nothing now; a timer goes on when it does."""
        self.lingers = False
        """Whether an executor rather waits for more to take; it knows itself when not to."""
        self._find_launch = find_launch
        self.errors = ErrorCounts()
        self.news: News | None = None
        """What observers are still to be told; None until there are any."""
        self.counts_only = callable(getattr(self.limiter, "settled_many", None))
        """Whether the limiter is told how many attempts went well, not of each; see
        `CountingLimiter`."""
        self.notes_sending = self.limiter is not None and not self.counts_only
        """Whether somebody wants to know when something is handed to the session."""

    # ---- whose turn it is ----

    def enqueue(self, work: Work) -> None:
        """Give `work` a turn, as it may have something to send. Lock held."""
        if not work.has_turn:
            work.has_turn = True
            self.turns.append(work)

    def may_take(self) -> bool:
        """Say whether `take` is worth calling; a hint that needs no lock."""
        if self._holding_back or self.lingers:
            return False
        return bool(self.turns) and self.in_flight < self.limit

    def free_permits(self) -> int:
        """Return how many more may be in flight; a hint that needs no lock."""
        return self.limit - self.in_flight

    def take(self, most: int) -> list[Job]:
        """Return up to `most` jobs, each together with a permit to send it; maybe none.

        Whoever gets a job must see to it that it settles: that gives the permit back.
        """
        jobs: list[Job] = []
        gone: list[object] = []  # outlives the lock: the last reference to a run may be its turn
        rate = self._rate
        now = 0.0 if rate is None else self.clock.monotonic()
        pause = 0.0
        with self.lock:
            turns = self.turns
            while turns and self.in_flight < self.limit and len(jobs) < most:
                if rate is not None and (pause := rate.wait(now)) > 0 and not self._turn_to_free():
                    break
                work = turns[0]
                if most == 1 or rate is not None or len(turns) > 1:
                    # One at a time where they take turns, or a rate has to be asked for each.
                    job = work.next_job()
                    taken = [] if job is None else [job]
                else:
                    taken = work.next_jobs(min(most - len(jobs), self.limit - self.in_flight))
                if not taken:
                    gone.append(turns.popleft())
                    work.has_turn = False
                    work.in_a_row = 0
                    gone.append(work.unwanted())
                else:
                    if len(turns) > 1:
                        work.in_a_row += 1
                        if work.in_a_row >= work.weight:
                            work.in_a_row = 0
                            turns.rotate(-1)
                    self.in_flight += len(taken)
                    if rate is not None and not work.expired:
                        rate.take(now)
                    jobs += taken
            if pause > 0 and turns and not self._holding_back and self.in_flight < self.limit:
                self._holding_back = True
                self.telling += 1
            else:
                pause = 0.0
            if not jobs:
                self.tell_if_idle()
        if pause > 0:
            self.call_later(max(pause, SHORTEST_PAUSE), self.go_on)
            self.told()
        if self.news is not None:
            self.news.tell()
        return jobs

    def give_back(self, permits: int = 1) -> None:
        """Return permits. Lock held."""
        self.in_flight -= permits
        if self.idle.tickets:
            self.tell_if_idle()

    def _turn_to_free(self) -> bool:
        """Bring one to the front whose jobs will not be sent, and so need no rate, if any."""
        turns = self.turns
        for number, work in enumerate(turns):
            if work.expired:
                turns.rotate(-number)
                return True
        return False

    # ---- what happens later ----

    def call_later(self, delay: float, step: Callable[[], object]) -> Callable[[], object]:
        """Have `step` called in `delay` seconds, then what it allows be sent.

        Returns what cancels it. Called without the lock, as is `step`.
        """
        return self.clock.call_later(delay, partial(_step_and_launch, step, self._find_launch()))

    def launch_elsewhere(self) -> None:
        """Have what may be sent be sent by the clock's thread, and not by this one."""
        self.call_later(0, _nothing)

    def go_on(self) -> None:
        """Look again whether the rate allows something."""
        self._holding_back = False

    def rests(self, work: Work) -> None:
        """Note that `work` has jobs that wait to be sent again. Lock held."""
        self._resting.add(work)

    def rests_no_more(self, work: Work) -> None:
        """Note that `work` has none any more. Lock held."""
        self._resting.discard(work)
        self.tell_if_idle()

    # ---- what is known ----

    def is_idle(self) -> bool:
        """Say whether nothing is in flight, queued, waiting or being told of. Lock held."""
        if self.news is not None and self.news.busy:
            return False
        return not (self.in_flight or self.telling or self.queued() or self.waiting_for_retry())

    def queued(self) -> int:
        """Return how many jobs are pulled and wait for a permit. Lock held."""
        return sum(work.queued() for work in self.turns)

    def takeable(self) -> int:
        """Return how many jobs could be taken if permits and rate allowed it. Lock held."""
        return sum(work.takeable() for work in self.turns)

    def waiting_for_retry(self) -> int:
        """Return how many jobs wait for their time to be sent again. Lock held."""
        return sum(work.waiting() for work in self._resting)

    def told(self) -> None:
        """Note that what was to be told has been told."""
        with self.lock:
            self.telling -= 1
            self.tell_if_idle()

    def tell_if_idle(self) -> None:
        """Let go who waits for that, if nothing is on its way any more. Lock held."""
        if self.idle.tickets and self.is_idle():
            self.idle.wake_all()

    # ---- the side of limiter and observers ----

    def has_observers(self) -> News:
        """Return where the news for observers is noted, now that there are any."""
        with self.lock:
            self.notes_sending = True
            if self.news is None:
                self.news = News(self)
            return self.news

    def sends(self, message: Message) -> None:
        """Note when `message` is handed to the session, if limiter or observers want to know."""
        if self.notes_sending:
            message.note_sending(self.clock.monotonic(), self.in_flight)
            if self.news is not None:
                self.news.tell()

    def learn(self, job: Job, success: bool, value: Any) -> BaseException | None:
        """Tell the limiter, which there is, how an attempt went, and take its new limit.

        Returns what the limiter raised, if anything; then the limit stays what it was. Called
        without the lock: the limiter may be the user's code.
        """
        if self.counts_only:
            return self.learn_many(int(success), int(not success and is_overload(value)))
        assert self.limiter is not None
        if job.sent_at is None:
            return None
        settled = partial(
            self.limiter.settled,
            seconds=self.clock.monotonic() - job.sent_at,
            in_flight=job.in_flight,
            outcome="success" if success else "overload" if is_overload(value) else "ignored",
        )
        return self._learn(settled)

    def learn_many(self, successes: int, overloads: int = 0) -> BaseException | None:
        """Tell a limiter that only counts, as `learn` tells one of each."""
        settled = cast("CountingLimiter", self.limiter).settled_many
        now = self.clock.monotonic()
        return self._learn(partial(settled, successes=successes, overloads=overloads, now=now))

    def _learn(self, settled: Callable[[], object]) -> BaseException | None:
        assert self.limiter is not None
        try:
            settled()
            self.limit = positive_int("the limiter's limit", self.limiter.limit)
            self.highest = max(self.highest, self.limit)
        except BaseException as exc:  # be it SystemExit: the run must come to its end
            exc.__traceback__ = None  # it refers to the job
            return exc
        return None


def _step_and_launch(step: Callable[[], object], launch: Callable[[], None] | None) -> None:
    step()
    if launch is not None:
        launch()


def _nothing() -> None:
    """Do no more than what follows each step: launch."""
