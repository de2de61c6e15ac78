"""The state machine of one run: what may start, what leaves, what stops it, when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Sized
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import Any, Protocol, cast
from weakref import WeakMethod

from concurrent_exec.model import (
    DeadlineExceededError,
    ExecutionResult,
    ExecutorShutdownError,
    InvalidItemError,
    RunSettings,
    RunStatistics,
    SkippedError,
)
from concurrent_exec.run.budget import ErrorBudget
from concurrent_exec.run.gate import Gate
from concurrent_exec.run.job import Job
from concurrent_exec.run.lane import Lane, Lanes
from concurrent_exec.run.parking import Parking
from concurrent_exec.run.source import Source
from concurrent_exec.run.telling import tell
from concurrent_exec.run.watch import Watch
from concurrent_exec.run.work import Told, Work
from concurrent_exec.sink import DiscardingSink, OrderedSink, Sink

WINDOW_FACTOR = 4
"""The window is this many times the concurrency, unless it is given."""
A_LIST = 8
"""Of the window such a part is worth waking a thread for that takes results in lists."""
A_MOMENT = 0.01
"""Seconds that it may have taken none for, before it is woken for fewer."""

_new: Callable[..., ExecutionResult[Any]] = tuple.__new__
"""Makes a result of a success in half the time that its class takes."""


class Doorbell(Protocol):
    """How who feeds a run hears of it."""

    def put(self, item: None) -> object:
        """Ring. Any thread does, even within a finaliser; so it takes no lock of ours."""


class Run(Work):
    """One run. It does no I/O, and runs no code of the user's under its gate's lock.

    What it knows of its end, from the weakest to the strongest:

    - `exhausted`, or `cut_off`: nothing more is pulled, but what is pulled is still sent
    - `expired`: its deadline has passed, so what is pulled fails in its turn
    - `stopped`: nothing more starts either; a failure in a fail-fast run, too many of them, an
      error of a policy's, or a shutdown
    - `closed`: nobody wants its results any more

    It is `over` when it is any of these but expired and nothing of it is on its way.

    What is pulled waits in `_ready` until its turn comes, or in the lane of its key until the
    statement before it there has settled, which releases it. What comes first in the input goes
    first, so that a key with many statements takes no more than its turns.
    """

    def __init__(
        self, gate: Gate, source: Source, settings: RunSettings, lanes: Lanes | None = None
    ) -> None:
        super().__init__(gate)
        self.source = source
        self._window = settings.window
        self.fail_fast = settings.fail_fast
        self.fed_by_caller = settings.fed_by_caller and source.items is None
        self.lanes = lanes
        """Finds the lane of each statement, where their order matters; used by who feeds."""
        self._settings = settings
        self._sending = settings.sending
        self.weight = settings.sending.weight
        self._watch: Watch | None = settings.sending.watch
        self._ended_by: BaseException | None = None
        """What its caller was raised, though it goes on; for the observers."""
        self._given_up: list[Job] = []
        """What a closed run let go that was to be sent again; for the observers."""
        self._budget = None if settings.max_errors is None else ErrorBudget(settings.max_errors)

        self.sink: Sink[Any] = OrderedSink()
        self.undelivered = 0
        """Results that left the sink, but may not have reached the caller yet."""
        self.takes_lists = False
        """Whether who reads takes results by `take_list`."""
        self._list_is_due = False
        self._taken_at = gate.clock.monotonic()
        self.failure: ExecutionResult[Any] | None = None
        """What stopped a fail-fast run: its first failure in time."""
        self.error: BaseException | None = None
        """What ends the run besides: the caller's iterable raised it, or a policy of theirs; or
        it says that too many statements failed or the deadline has passed."""
        self.stopped = False
        self.closed = False
        self.consumers = Parking()
        self.doorbell: Doorbell = SimpleQueue()
        """Rung for a feeder that waits for room, or to be told that the run has ended."""
        self.on_known: Callable[[], object] | None = None
        """Called once, outside the lock, when the outcome of the run is known."""

        self.pulled = 0
        self.started = 0
        self._in_flight = 0
        self._succeeded = 0
        self._failed = 0
        self._retries = 0
        self._in_lanes = 0
        self._ready: deque[Job] = deque()
        self._released: list[tuple[int, Job]] = []
        """A heap, by their indexes, of jobs that their lanes have let go."""
        self._ended = False
        self._cut_off = False
        self._feeder_waits = False
        self.start_time = gate.clock.monotonic()
        self._stop_time: float | None = None
        self._cancel_deadline: Callable[[], object] | None = None
        if settings.deadline is not None:
            expire = _unless_gone(WeakMethod(self._expire))
            self._cancel_deadline = gate.call_later(settings.deadline, expire)

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
        if self.stopped or self.closed:
            return True
        waiting = self._ready or self._released or self._due or self._resting
        return self._no_more_input and not waiting

    @property
    def outcome_known(self) -> bool:
        """Whether a caller who waits for the whole run need wait no longer."""
        return self.failure is not None or self.error is not None or self.over

    @property
    def cut_short(self) -> bool:
        """Whether a shutdown kept a part of the input from being pulled."""
        return self._cut_off and not self.exhausted

    @property
    def may_bring_more(self) -> bool:
        return not (self.stopped or self.closed or self._no_more_input)

    @property
    def window(self) -> int:
        """How many statements may be pulled and not delivered."""
        return self._window or WINDOW_FACTOR * self.gate.highest

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
        return self._cut_off or self.exhausted or (self.expired and self.source.items is None)

    # ---- the gate's side ----

    def next_job(self) -> Job | None:
        if self.stopped or self.closed:
            return None
        if self._due:
            job: Job | None = self._due.popleft()
        elif self._released and (not self._ready or self._released[0][0] < self._ready[0].index):
            job = heappop(self._released)[1]
        else:
            job = self._ready.popleft() if self._ready else self._pull_in_place()
        if job is not None:
            if not job.errors:
                self.started += 1
            self._in_flight += 1
            if self._feeder_waits and not self._ready and self.room > 0:
                self._ring()  # which `_made_room` put off while there was more in store
        return job

    def next_jobs(self, most: int) -> list[Job]:
        if self._released or self._due:
            return super().next_jobs(most)
        if self.source.items is None:
            return self._ready_jobs(most)
        if not self.may_bring_more:
            return []
        try:
            pairs = self.source.pairs_at(self.pulled, min(most, self.room))
        except InvalidItemError:
            return super().next_jobs(most)  # those before it, and then its error
        sending = self._sending
        jobs = [
            Job(self, index, statement, parameters, sending)
            for index, (statement, parameters) in enumerate(pairs, self.pulled)
        ]
        self.pulled += len(jobs)
        self.started += len(jobs)
        self._in_flight += len(jobs)
        return jobs

    def _ready_jobs(self, most: int) -> list[Job]:
        if self.stopped or self.closed:
            return []
        ready = self._ready
        jobs = [ready.popleft() for _ in range(min(most, len(ready)))]
        self.started += len(jobs)
        self._in_flight += len(jobs)
        if self._feeder_waits and not ready and self.room > 0:
            self._ring()  # which `_made_room` put off while there was more in store
        return jobs

    def unwanted(self) -> object:
        # The finaliser of dropped results takes no lock, and so lets nothing go. The jobs refer
        # to the run: it would be left to the collector, with every statement pulled ahead.
        discarded = self.let_go(0) if self.closed else None
        self._note_end()  # nothing else would tell of an empty list
        return discarded

    def queued(self) -> int:
        if self.closed:
            return 0
        return len(self._ready) + len(self._released) + len(self._due) + self._in_lanes

    def takeable(self) -> int:
        if self.stopped or self.closed:
            return 0
        items = self.source.items
        unpulled = 0 if items is None or self._no_more_input else len(items) - self.pulled
        return self.queued() - self._in_lanes + max(0, min(unpulled, self.room))

    def waiting(self) -> int:
        return 0 if self.closed else len(self._resting)

    def refusal(self, job: Job) -> BaseException | None:
        if self.expired:
            assert self._settings.deadline is not None
            return DeadlineExceededError(self._settings.deadline)
        if job.lane is not None and job.lane.failed_at is not None:
            return SkippedError(job.lane.failed_at)
        return None

    def recall(self, job: Job) -> bool:
        # What comes before a failure in the input is still delivered, and so is sent.
        failure = None if self.closed else self.failure
        before_failure = failure is not None and job.index < cast("int", failure.index)
        if before_failure or not (self.stopped or self.closed):
            return super().recall(job)
        job.attempts -= 1
        discarded: object = None
        with self.gate.lock:
            job.settled = True
            if job.errors:
                error = job.last_error()
                if self._watch is not None:
                    self._watch.settled(job, False, error)
                told, discarded = self.conclude(job, False, error)
            else:
                self.started -= 1
                self._in_flight -= 1
                if not self.closed and self.failure is None and self.error is None:
                    # `cancel` saw nothing that was left to be sent.
                    self.error = _shut_down_before(f"all of the {self.pulled}")
                told = self._progress()
            self.gate.give_back()
        del discarded  # outside the lock: the statements are the user's objects
        if told is not None:
            tell(told, self.gate)
        self._tell_observers()
        return True

    def may_wait(self, job: Job, delay: float) -> bool:
        if self.stopped or self.closed or self.expired:
            return False
        self._in_flight -= 1
        self._retries += 1
        if self.takes_lists and not self._in_flight:
            self._wake_consumers()
        return True

    def conclude(self, job: Job, success: bool, value: Any) -> tuple[Told, object]:
        self._in_flight -= 1
        discarded = self._take_in(job, success, value)
        if job.lane is not None:
            self._leave_lane(job, success)
        return self._progress(), discarded

    def conclude_successes(self, outcomes: Sequence[tuple[Job, Any]]) -> list[tuple[Told, object]]:
        if self._budget is not None or self.lanes is not None:
            return super().conclude_successes(outcomes)
        self._in_flight -= len(outcomes)
        self._succeeded += len(outcomes)
        if not self.closed and self.sink.put_all(
            [(job.index, _new(ExecutionResult, (True, value))) for job, value in outcomes]
        ):
            self._wake_consumers()
        if self.sink.delivers_at_once:
            self._made_room()
        return [(self._progress(), None)]

    def abort(self, error: BaseException) -> None:
        """End the run with `error`, which a policy or limiter of the caller's has raised."""
        with self.gate.lock:
            discarded = self._end_with(error)
            due = self._progress()
        del discarded
        if due is not None:
            tell(due, self.gate)
        self._tell_observers()

    def _take_in(self, job: Job, success: bool, value: Any) -> object:
        """Count an outcome and hand it to the sink; return what was pulled for nothing."""
        discarded: object = None
        if success:
            result: ExecutionResult[Any] = ExecutionResult(True, value)
            self._succeeded += 1
        else:
            result = ExecutionResult.failed(value, job.failure())
            self._failed += 1
            if self.fail_fast and self.failure is None:
                self.failure = result
                discarded = self.stop()
        if self._budget is not None:
            discarded = self._spend(self._budget, result)
        if not self.closed and self.sink.put(job.index, result):
            self._wake_consumers()
        if self.sink.delivers_at_once:
            self._made_room()
        return discarded

    def _wake_consumers(self) -> None:
        """Wake who waits for results, as there are some; for a list of them, if that is due."""
        if self.takes_lists:
            self._list_is_due = self._is_list_due()
            if not self._list_is_due:
                return
        self.consumers.wake_all()

    def _is_list_due(self) -> bool:
        """Say whether there are many results, or it may be long until there are more."""
        return (
            self._list_is_due  # and has not been taken yet
            or self._succeeded + self._failed - self.sink.delivered >= self.window // A_LIST
            or not self._in_flight
            or self.outcome_known
            or self.gate.clock.monotonic() >= self._taken_at + A_MOMENT
        )

    def _spend(self, budget: ErrorBudget, result: ExecutionResult[Any]) -> object:
        if not result.success:
            budget.note(result)
        finished = self._succeeded + self._failed
        if self.stopped or not budget.passed(self._failed, finished):
            return None
        return self._end_with(budget.error(self._failed, finished))

    def _leave_lane(self, job: Job, success: bool) -> None:
        lane = job.lane
        assert lane is not None
        if not success and self._settings.skip_after_failure and lane.failed_at is None:
            lane.failed_at = job.index
        if lane.queue and not (self.stopped or self.closed):
            self._in_lanes -= 1
            released = self._job(*lane.queue.popleft(), lane)
            heappush(self._released, (released.index, released))
            self.gate.enqueue(self)
        else:
            lane.busy = False

    def _give_up_retries(self) -> list[object]:
        """Let what waits to be sent again settle with its last error; return what to drop."""
        again = [*self._due, *self.take_resting()]
        self._due = deque()
        discarded = []
        for job in again:
            error = job.last_error()
            if self._watch is not None:
                self._watch.settled(job, False, error)
            discarded.append(self._take_in(job, False, error))
            if job.lane is not None:
                self._leave_lane(job, False)
        return discarded

    def _end_with(self, error: BaseException) -> object:
        if not self.stopped:  # else it has been ended by another before
            self.error = error
        return self.stop()

    def _expire(self) -> None:
        """Let what is not in flight fail in its turn, and nothing more of an iterator be pulled."""
        with self.gate.lock:
            if self.stopped or self.closed or self._stop_time is not None:
                return
            self.expired = True
            discarded = self._give_up_retries()
            if self.source.items is None and not self._ended:
                assert self._settings.deadline is not None
                self.error = DeadlineExceededError(self._settings.deadline, self.pulled)
            self.gate.enqueue(self)
            self._ring()
            self.consumers.wake_all()
            due = self._progress()
        del discarded  # outside the lock: the statements are the user's objects
        self.gate.go_on()
        if due is not None:
            tell(due, self.gate)
        self._tell_observers()

    # ---- the feeding side ----

    def demand(self) -> int | None:
        """Return how many statements to pull, None for never more, or 0 for "wait for the ring".

        Asked by the one who feeds; a 0 is followed by a ring once there is room. Lock held.
        """
        if not self.may_bring_more:
            return None
        room = self.room
        self._feeder_waits = room <= 0
        return max(room, 0)

    def offer(self, statement: Any, parameters: Any, lane: Lane | None) -> bool:
        """Take what was pulled; return False, and drop it, where the run has stopped meanwhile."""
        with self.gate.lock:
            if self.stopped or self.closed or self._cut_off or self.expired:
                return False
            index = self.pulled
            self.pulled += 1
            if lane is not None and lane.busy:
                lane.queue.append((index, statement, parameters))
                self._in_lanes += 1
                return True
            if lane is not None:
                lane.busy = True
            self._ready.append(self._job(index, statement, parameters, lane))
            self.gate.enqueue(self)
            return True

    def offer_all(self, parameters: Sequence[Any]) -> bool:
        """Take the parameters of the one statement that were pulled together, as `offer` does."""
        statement, sending = self.source.statement, self._sending
        jobs = [
            Job(self, index, statement, each, sending)
            for index, each in enumerate(parameters, self.pulled)  # which only who feeds changes
        ]
        with self.gate.lock:
            if self.stopped or self.closed or self._cut_off or self.expired:
                return False
            self.pulled += len(jobs)
            self._ready += jobs
            self.gate.enqueue(self)
            return True

    def end_of_input(self, error: BaseException | None) -> None:
        """Note that the input is at its end, or has raised `error`."""
        with self.gate.lock:
            self._ended = True
            self.gate.lingers = False  # there may be no more to wait for
            if error is not None and self.error is None:
                self.error = error
            self.consumers.wake_all()
            due = self._progress()
        if due is not None:
            tell(due, self.gate)
        self._tell_observers()

    def _pull_in_place(self) -> Job | None:
        items = self.source.items
        if items is None or self._cut_off or self.pulled >= len(items) or self.room <= 0:
            return None
        try:
            statement, parameters = self.source.pair_at(self.pulled)
        except InvalidItemError as exc:  # the list was changed under our hands
            self.source.items = None
            self._ended = True
            self.error = exc.with_traceback(None)  # its frame refers to this run
            self.consumers.wake_all()
            return None
        self.pulled += 1
        return self._job(self.pulled - 1, statement, parameters, None)

    def _job(self, index: int, statement: Any, parameters: Any, lane: Lane | None) -> Job:
        return Job(self, index, statement, parameters, self._sending, lane)

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
        self.note_delivered(held + len(batch))
        return batch

    def note_delivered(self, held: int) -> None:
        """Note that of the results that left, all but `held` have reached the caller. Lock held."""
        self.undelivered = held
        self._made_room()

    def take_list(self) -> list[Any]:
        """Return all results that may leave now, which so reach the caller, if that is due.

        Else, none; whoever asks is woken when it is. Lock held.
        """
        if not self._is_list_due():
            return []
        self._list_is_due = False
        # Up to a failure that ends the run, which then comes alone.
        batch = self.sink.take(self.window if self.failure is None else 1)
        self._taken_at = self.gate.clock.monotonic()
        self.note_delivered(0)
        return batch

    def stop(self) -> object:
        """Let nothing more start, and what waits to be sent again settle with its last error.

        Returns what was pulled for nothing, which the caller drops after it has released the
        lock. Lock held.
        """
        self.stopped = True
        self._give_up_retries()
        discarded = self._ready, self._released
        self._ready, self._released = deque(), []
        self._in_lanes = 0
        self._ring()
        self.consumers.wake_all()
        return discarded

    def cancel(self) -> object:
        """Stop for a shutdown; return what to drop, as `stop` does. Lock held."""
        if not self.queued():
            return self.stop()
        return self._end_with(_shut_down_before(f"{self.queued()} of {self.pulled}"))

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
        self.gate.idle.wake_all()  # for a shutdown, what waits to be sent again is no more
        if self._cancel_deadline is not None:
            self._cancel_deadline()
        if self._watch is not None and self._stop_time is None:
            self._watch.closed(self)

    def tell_when_known(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, once and outside the lock, when the outcome is known."""
        with self.gate.lock:
            self.on_known = callback
            due = self._progress()
        if due is not None:
            tell(due, self.gate)
        self._tell_observers()

    def let_go(self, undelivered: int) -> object:
        """Return what a closed run still holds, for the caller to drop without the lock.

        Of what has left the sink, `undelivered` never reaches the caller. Lock held.
        """
        held = self.sink, self.failure, self.error, self._ready, self._released, self._due
        resting = self.take_resting()
        self._failed += len(resting) + len(self._due)  # what waits to be sent again is given up
        if self._watch is not None and self._stop_time is None:
            # Told with the end, as who closes a run tells nothing: it may be a finaliser.
            self._given_up += (*resting, *self._due)
            self._ended_by = self._error() or self._ended_by
        self.sink = DiscardingSink(self.sink.delivered - undelivered)
        self._ready, self._released, self._due = deque(), [], deque()
        self.failure = self.error = None
        return held, resting

    def statistics(self, held: Sized) -> RunStatistics:
        """Return the counts; `held` has left the sink, but has not reached the caller."""
        with self.gate.lock:
            return self.counts(len(held))

    def counts(self, undelivered: int | None = None) -> RunStatistics:
        """Return the counts; `undelivered` have left the sink, but not reached the caller.

        Lock held.
        """
        end = self.gate.clock.monotonic() if self._stop_time is None else self._stop_time
        return RunStatistics(
            pulled=self.pulled,
            started=self.started,
            in_flight=self._in_flight,
            waiting_for_retry=len(self._resting) + len(self._due),
            succeeded=self._succeeded,
            failed=self._failed,
            delivered=self.sink.delivered
            - (self.undelivered if undelivered is None else undelivered),
            retries=self._retries,
            elapsed=end - self.start_time,
        )

    def take_error(self) -> BaseException | None:
        """Return what ends the run, which the caller is now raised, and forget it."""
        error, self.error = self.error, None
        if self._watch is not None and self._stop_time is None:
            self._ended_by = error
        return error

    def end_if_over(self) -> object:
        """Note the end of a run that was closed, if it is; return what to drop. Lock held."""
        discarded = self.let_go(0)
        self._note_end()
        return discarded

    def _progress(self) -> Callable[[], object] | None:
        """Wake who waits for the end, if it has come; return whom to tell after the lock."""
        if not self._in_flight:
            self._note_end()
        if self.on_known is None or not self.outcome_known:
            return None
        due, self.on_known = self.on_known, None
        self.gate.telling += 1
        return due

    def _note_end(self) -> None:
        if not self.over:
            return
        self.consumers.wake_all()
        if self._stop_time is not None:
            return
        if self._watch is not None:
            self._tell_end(self._watch)
        self._stop_time = self.gate.clock.monotonic()
        if self._cancel_deadline is not None:
            self._cancel_deadline()

    def _tell_end(self, watch: Watch) -> None:
        if self.closed:
            watch.drop_later(self.let_go(0))
        for job in self._given_up:
            watch.settled(job, False, job.last_error())
        watch.finished(self.counts(), self._error() or self._ended_by)
        watch.drop_later(self._given_up)
        self._given_up, self._ended_by = [], None

    def _error(self) -> BaseException | None:
        failure = self.failure
        return self.error if failure is None else cast("BaseException", failure.result_or_exc)

    def _tell_observers(self) -> None:
        if self._watch is not None:
            self._watch.tell()


def _unless_gone(method: WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Return what calls `method` of an object that it does not keep alive."""

    def call() -> None:
        alive = method()
        if alive is not None:
            alive()

    return call


def _shut_down_before(which: str) -> ExecutorShutdownError:
    return ExecutorShutdownError(
        f"the executor was shut down before {which} statements that had been pulled were sent"
    )
