"""What shares a gate: how its jobs settle, and how they are sent again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from concurrent_exec.model import FailedAttempt, RetryPolicy
from concurrent_exec.run.gate import Gate
from concurrent_exec.run.job import Job
from concurrent_exec.run.telling import tell
from concurrent_exec.run.watch import Watch

Told = Callable[[], object] | None
"""What is to be called once the lock is released, or nothing."""


class Work(ABC):
    """A source of jobs that shares a gate: a run, or the queue behind `submit`.

    A job that fails goes one of two ways: it is concluded, or it rests until its time to be sent
    again has come. While it rests it has no permit, and nothing holds it up: neither a blocked
    input, as those due are served before new ones, nor a thread, as a timer brings it back.

    Methods marked "lock held" are called under the gate's lock, and run no code of the user's:
    not a call, and not the finaliser of anything they let go.
    """

    expired = False
    """Whether nothing of it is to be sent any more, but each job is to fail in its turn."""
    weight = 1
    """How many jobs it may give at each of its turns."""
    in_a_row = 0
    """How many it has given at this turn; the gate's own note."""
    has_turn = False
    """Whether it stands in the gate's queue; the gate's own note."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._resting: dict[Job, None] = {}
        """Jobs that wait for their time, in the order they began to."""
        self._due: deque[Job] = deque()
        """Jobs to send before any that is new."""

    # ---- what a run and the queue differ in ----

    @abstractmethod
    def next_job(self) -> Job | None:
        """Return a job to send now, or None. Lock held."""

    def next_jobs(self, most: int) -> list[Job]:
        """Return up to `most` jobs to send now, as `next_job` returns one. Lock held."""
        jobs: list[Job] = []
        while len(jobs) < most and (job := self.next_job()) is not None:
            jobs.append(job)
        return jobs

    @abstractmethod
    def queued(self) -> int:
        """Return how many jobs are there to be sent and have no permit. Lock held."""

    @property
    @abstractmethod
    def may_bring_more(self) -> bool:
        """Whether jobs may come yet that it does not know of. Lock held."""

    @abstractmethod
    def takeable(self) -> int:
        """Return how many jobs `next_job` would give one after the other. Lock held."""

    @abstractmethod
    def waiting(self) -> int:
        """Return how many jobs wait for their time to be sent again. Lock held."""

    def unwanted(self) -> object:
        """Return what it holds and nobody wants any more; it is dropped without the lock.

        Asked when it has nothing to send. Lock held.
        """
        return None

    @abstractmethod
    def refusal(self, job: Job) -> BaseException | None:
        """Return why `job`, whose turn has come, must fail rather than be sent, or None."""

    def recall(self, job: Job) -> bool:
        """Say whether `job`, which was taken and not sent, is to be sent no more.

        It has then settled, or been taken back as if it had never been started.
        """
        refusal = self.refusal(job)
        if refusal is not None:
            job.attempts -= 1
            self.settle(job, False, refusal, final=True)
        return refusal is not None

    @abstractmethod
    def conclude(self, job: Job, success: bool, value: Any) -> tuple[Told, object]:
        """Take the final outcome of `job`, which had a permit.

        Returns whom to tell, and what to drop, after the lock is released. Lock held.
        """

    def conclude_successes(self, outcomes: Sequence[tuple[Job, Any]]) -> list[tuple[Told, object]]:
        """Take the results of jobs that have succeeded, as `conclude` takes one. Lock held."""
        return [self.conclude(job, True, value) for job, value in outcomes]

    @abstractmethod
    def may_wait(self, job: Job, delay: float) -> bool:
        """Say whether `job` may be sent again in `delay` seconds, and note it. Lock held."""

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """End with `error`: a policy or limiter of the user's has raised it."""

    # ---- settling ----

    def settle(
        self,
        job: Job,
        success: bool,
        value: Any,
        *,
        sent: bool = True,
        final: bool = False,
        again: bool = False,
    ) -> None:
        """Take the first outcome of `job`, ignore any other. Never raises.

        sent: whether the session took it.
        final: whether it must not be sent again, whatever the policy says.
        again: whether it is to be sent again at once, whatever the policy says.
        """
        gate = self.gate
        watch: Watch | None = job.sending.watch
        policy = None if success or final or again else job.sending.retry
        more_to_do = policy is not None or gate.limiter is not None
        told: Told = None
        discarded: object = None
        trouble: BaseException | None = None
        with gate.lock:
            if job.settled:
                return
            job.settled = True
            if more_to_do:
                gate.telling += 1
            if not (success or final):
                gate.errors.note(value, gate.clock.monotonic())
            if again and self.may_wait(job, 0):
                if watch is not None:
                    watch.retried(job, value, 0)
                self._falls_due_now(job, value)
                gate.give_back()
            elif policy is None:
                if watch is not None:
                    watch.settled(job, success, value)
                told, discarded = self.conclude(job, success, value)
                gate.give_back()
        if policy is not None:
            told, discarded = self._retry_or_conclude(policy, job, value, sent)
        if gate.limiter is not None:
            trouble = gate.learn(job, success, value)
        del discarded  # outside the lock: the statements are the user's objects
        if told is not None:
            tell(told, gate)
        if trouble is not None:
            self.abort(trouble)
        if more_to_do:
            gate.told()
        if watch is not None:
            watch.tell(wait=True)

    def _retry_or_conclude(
        self, policy: RetryPolicy, job: Job, error: BaseException, sent: bool
    ) -> tuple[Told, object]:
        """Ask the policy, which is the user's code, and do what it says.

        The job keeps its permit until that is known: it counts as in flight.
        """
        trouble: BaseException | None = None
        delay: float | None = None
        try:
            delay = _checked(policy.delay(_attempt(job, error, sent)))
        except BaseException as exc:  # be it SystemExit: the job must be concluded
            trouble = exc
            trouble.__traceback__ = None  # it refers to the job
        if trouble is not None:
            self.abort(trouble)
        gate = self.gate
        watch: Watch | None = job.sending.watch
        told: Told = None
        discarded: object = None
        later: Job | None = None
        with gate.lock:
            waits = delay is not None and self.may_wait(job, delay)
            if watch is not None and delay is not None and waits:
                watch.retried(job, error, delay)
            elif watch is not None:
                watch.settled(job, False, error)
            if not waits:
                told, discarded = self.conclude(job, False, error)
            elif delay == 0:
                self._falls_due_now(job, error)
            else:
                later = job.again(error)
                self._resting[later] = None
                gate.rests(self)
            gate.give_back()
        if later is not None:
            assert delay is not None
            gate.call_later(delay, partial(self._falls_due, later))
        return told, discarded

    def _falls_due_now(self, job: Job, error: BaseException) -> None:
        self._due.append(job.again(error))
        self.gate.enqueue(self)

    def _falls_due(self, job: Job) -> None:
        with self.gate.lock:
            if job in self._resting:
                del self._resting[job]
                self._due.append(job)
                self.gate.enqueue(self)
                if not self._resting:
                    self.gate.rests_no_more(self)

    def take_resting(self) -> list[Job]:
        """Remove and return the jobs that rest. Lock held."""
        resting = list(self._resting)
        self._resting.clear()
        self.gate.rests_no_more(self)
        return resting


def succeed_all(outcomes: Sequence[tuple[Job, Any]]) -> None:
    """Settle jobs of one gate with their results, as `Job.succeed` settles one. Never raises.

    The lock is taken once for all of them, which is what a strategy gains that has many answers
    at a time.
    """
    if not outcomes:
        return
    gate = outcomes[0][0].work.gate
    if gate.limiter is not None and not gate.counts_only:  # which is told of each
        for job, value in outcomes:
            job.succeed(value)
        return
    by_work: dict[Work, list[tuple[Job, Any]]] = {}
    concluded: list[tuple[Told, object]] = []
    watch: Watch | None = None
    trouble: BaseException | None = None
    with gate.lock:
        if gate.counts_only:
            gate.telling += 1
        for outcome in outcomes:
            job = outcome[0]
            if not job.settled:
                job.settled = True
                if job.sending.watch is not None:
                    watch = job.sending.watch
                    watch.settled(job, True, outcome[1])
                by_work.setdefault(job.work, []).append(outcome)
        for work, succeeded in by_work.items():
            concluded += work.conclude_successes(succeeded)
            gate.give_back(len(succeeded))
    if gate.counts_only and by_work:
        trouble = gate.learn_many(sum(map(len, by_work.values())))
    callbacks = [callback for callback, _ in concluded if callback is not None]
    del concluded  # outside the lock: the statements it discards are the user's objects
    for callback in callbacks:
        tell(callback, gate)
    if trouble is not None:
        for work in by_work:
            work.abort(trouble)
    if gate.counts_only:
        gate.told()
    if watch is not None:
        watch.tell(wait=True)


def _attempt(job: Job, error: BaseException, sent: bool) -> FailedAttempt:
    return FailedAttempt(
        statement=job.statement,
        parameters=job.parameters,
        error=error,
        attempts=job.attempts,
        sent=sent,
        assume_idempotent=job.sending.assume_idempotent,
        batch_size=job.batch_size,
    )


def _checked(delay: object) -> float | None:
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(
            f"a retry policy's delay must be seconds or None, not {type(delay).__name__}"
        )
    if not (delay >= 0 and math.isfinite(delay)):
        raise ValueError(f"a retry policy's delay must be finite seconds, at least 0, not {delay}")
    return float(delay)
