"""The state machine of one run: what may start, what leaves, what stops it, when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from queue import SimpleQueue
from typing import Any

from concurrent_exec.model import (
    Clock,
    ExecutionResult,
    Failure,
    InvalidItemError,
    RunStatistics,
)
from concurrent_exec.run.gate import Gate, Work
from concurrent_exec.run.job import Job
from concurrent_exec.run.parking import Parking
from concurrent_exec.run.source import Source
from concurrent_exec.run.telling import tell
from concurrent_exec.sink import DiscardingSink, OrderedSink, Sink


class Run(Work):
    """One run. It does no I/O, and runs no code of the user's under its gate's lock.

    What it knows of its end, from the weakest to the strongest:

    - `exhausted`, or `cut_off`: nothing more is pulled, but what is pulled is still sent
    - `stopped`: nothing more starts either; a failure in a fail-fast run, or a shutdown
    - `closed`: nobody wants its results any more

    It is `over` when it is any of these and nothing of it is on its way.
    """

    def __init__(
        self,
        gate: Gate,
        source: Source,
        *,
        window: int,
        fail_fast: bool,
        fed_by_caller: bool,
        send_options: dict[str, Any],
        clock: Clock,
    ) -> None:
        self.gate = gate
        self.source = source
        self.window = window
        self.fail_fast = fail_fast
        self.fed_by_caller = fed_by_caller
        self.send_options = send_options

        self.sink: Sink[Any] = OrderedSink()
        self.undelivered = 0
        """Results that left the sink, but may not have reached the caller yet."""
        self.failure: ExecutionResult[Any] | None = None
        """What stopped a fail-fast run: its first failure in time."""
        self.input_error: BaseException | None = None
        """What the caller's iterable raised."""
        self.stopped = False
        self.closed = False
        self.consumers = Parking()
        self.doorbell: SimpleQueue[None] = SimpleQueue()
        """Rung for a feeder that waits for room, or to be told that the run has ended."""
        self.on_known: Callable[[], object] | None = None
        """Called once, outside the lock, when the outcome of the run is known."""

        self.pulled = 0
        self.started = 0
        self._in_flight = 0
        self._succeeded = 0
        self._failed = 0
        self._ready: deque[Job] = deque()
        self._ended = False
        self._cut_off = False
        self._feeder_waits = False
        self._clock = clock
        self._start_time = clock.monotonic()
        self._stop_time: float | None = None

    # ---- what is known; all with the lock held ----

    @property
    def exhausted(self) -> bool:
        """Whether the whole input has been pulled."""
        items = self.source.items
        return self._ended if items is None else self.pulled >= len(items)

    @property
    def over(self) -> bool:
        """Whether nothing is on its way and nothing will be."""
        if self._in_flight:
            return False
        return self.stopped or self.closed or (self._no_more_input and not self._ready)

    @property
    def outcome_known(self) -> bool:
        """Whether a caller who waits for the whole run need wait no longer."""
        return self.failure is not None or self.input_error is not None or self.over

    @property
    def cut_short(self) -> bool:
        """Whether a shutdown kept a part of the input from being sent."""
        return (self._cut_off and not self.exhausted) or (
            self.stopped and self.failure is None and self.started < self.pulled
        )

    @property
    def room(self) -> int:
        """How many statements may be pulled before the caller takes further results."""
        return self.window - (self.pulled - self.sink.delivered + self.undelivered)

    @property
    def at_rest(self) -> bool:
        """Whether no thread of the run's own is pulling its iterator, or about to; for tests."""
        if (
            self.fed_by_caller
            or self.source.items is not None
            or self.stopped
            or self.closed
            or self._no_more_input
        ):
            return True
        return self._feeder_waits

    @property
    def _no_more_input(self) -> bool:
        return self._cut_off or self.exhausted

    # ---- the gate's side ----

    def next_job(self) -> Job | None:
        if self.stopped or self.closed:
            return None
        job = self._ready.popleft() if self._ready else self._pull_in_place()
        if job is not None:
            self.started += 1
            self._in_flight += 1
            if self._feeder_waits and not self._ready and self.room > 0:
                self._ring()  # which `_made_room` put off while there was more in store
        return job

    def queued(self) -> int:
        return 0 if self.stopped or self.closed else len(self._ready)

    def settle(self, job: Job, success: bool, value: Any) -> None:
        if success:
            result: ExecutionResult[Any] = ExecutionResult(True, value)
        else:
            failure = Failure(job.index, job.statement, job.parameters, job.attempts)
            result = ExecutionResult.failed(value, failure)
        discarded = None
        with self.gate.lock:
            if job.settled:
                return
            job.settled = True
            self._in_flight -= 1
            if success:
                self._succeeded += 1
            else:
                self._failed += 1
                if self.fail_fast and self.failure is None:
                    self.failure = result
                    discarded = self.stop()
            wake = not self.closed and self.sink.put(job.index, result)
            self.gate.give_back()
            if wake:
                self.consumers.wake_all()
            if self.sink.delivers_at_once:
                self._made_room()
            due = self._progress()
        del discarded  # outside the lock: the statements are the user's objects
        if due is not None:
            tell(due, self.gate)

    # ---- the feeding side ----

    def demand(self) -> bool | None:
        """Say whether to pull: yes, or None for never more, or no for "wait for the ring".

        Asked by the one who feeds; a no is followed by a ring once there is room. Lock held.
        """
        if self.stopped or self.closed or self._no_more_input:
            return None
        self._feeder_waits = self.room <= 0
        return not self._feeder_waits

    def offer(self, job: Job) -> None:
        """Take a job that was pulled; it is dropped where the run has stopped meanwhile."""
        with self.gate.lock:
            if not (self.stopped or self.closed or self._cut_off):
                self.pulled += 1
                self._ready.append(job)
                self.gate.enqueue(self)

    def end_of_input(self, error: BaseException | None) -> None:
        """Note that the input is at its end, or has raised `error`."""
        with self.gate.lock:
            self._ended = True
            self.input_error = error
            self.consumers.wake_all()
            due = self._progress()
        if due is not None:
            tell(due, self.gate)

    def _pull_in_place(self) -> Job | None:
        if self.source.items is None or self._no_more_input or self.room <= 0:
            return None
        try:
            job = Job(self, self.pulled, *self.source.pair_at(self.pulled))
        except InvalidItemError as exc:  # the list was changed under our hands
            self.source.items = None
            self._ended = True
            self.input_error = exc.with_traceback(None)  # its frame refers to this run
            self.consumers.wake_all()
            return None
        self.pulled += 1
        return job

    def _made_room(self) -> None:
        if self.source.items is not None:
            if not (self.has_turn or self._no_more_input or self.room <= 0):
                self.gate.enqueue(self)
        elif self._feeder_waits:
            # Room for one more is not worth waking a thread for while others are ready.
            if self.room >= max(1, self.window // 4) or (self.room > 0 and not self._ready):
                self._ring()

    def _ring(self) -> None:
        self._feeder_waits = False
        if self.fed_by_caller:
            self.consumers.wake_all()
        else:
            self.doorbell.put(None)

    # ---- the caller's side ----

    def take_results(self, most: int, held: int) -> list[Any]:
        """Return up to `most` results that may leave now.

        Of those that left earlier, all but `held` have reached the caller. Lock held.
        """
        batch = self.sink.take(most)
        self.undelivered = held + len(batch)
        self._made_room()
        return batch

    def stop(self) -> deque[Job]:
        """Let nothing more start; return what was pulled for nothing.

        Lock held. The caller drops what is returned after it has released the lock.
        """
        self.stopped = True
        discarded, self._ready = self._ready, deque()
        self._ring()
        self.consumers.wake_all()
        return discarded

    def cut_off(self) -> Callable[[], object] | None:
        """Let nothing more be pulled; what is pulled is still sent.

        Lock held. What is returned is to be called after the lock is released.
        """
        self._cut_off = True
        self._ring()
        self.consumers.wake_all()
        return self._progress()

    def close(self) -> None:
        """Let nothing more start, and every result go.

        Takes no lock, since it serves as a finaliser, which the garbage collector may run on a
        thread that holds the lock: it sets a flag that `next_job` obeys and wakes who waits.
        """
        self.closed = True
        self.on_known = None
        self.doorbell.put(None)
        self.consumers.wake_all()

    def tell_when_known(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, once and outside the lock, when the outcome is known."""
        with self.gate.lock:
            self.on_known = callback
            due = self._progress()
        if due is not None:
            tell(due, self.gate)

    def let_go(self, undelivered: int) -> object:
        """Return what a closed run still holds, for the caller to drop without the lock.

        Of what has left the sink, `undelivered` never reaches the caller. Lock held.
        """
        held = (self.sink, self._ready, self.failure)
        self.sink = DiscardingSink(self.sink.delivered - undelivered)
        self._ready = deque()
        self.failure = None
        return held

    def statistics(self, held: Sized) -> RunStatistics:
        """Return the counts; `held` has left the sink, but has not reached the caller."""
        now = self._clock.monotonic()
        with self.gate.lock:
            return RunStatistics(
                pulled=self.pulled,
                started=self.started,
                in_flight=self._in_flight,
                waiting_for_retry=0,
                succeeded=self._succeeded,
                failed=self._failed,
                delivered=self.sink.delivered - len(held),
                elapsed=(now if self._stop_time is None else self._stop_time) - self._start_time,
            )

    def _progress(self) -> Callable[[], object] | None:
        """Wake who waits for the end, if it has come; return whom to tell after the lock."""
        if not self._in_flight and self.over:
            self.consumers.wake_all()
            if self._stop_time is None:
                self._stop_time = self._clock.monotonic()
        if self.on_known is None or not self.outcome_known:
            return None
        due, self.on_known = self.on_known, None
        self.gate.telling += 1
        return due
