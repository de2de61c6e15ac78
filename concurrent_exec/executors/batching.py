"""Many statements in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, Literal, TypeVar

from concurrent_exec.drivers import Write, Writes, batch_of
from concurrent_exec.drivers.direct import Outgoing, Succeeded, Wire, open_wire
from concurrent_exec.executors._groups import grouped
from concurrent_exec.executors._linger import Linger
from concurrent_exec.executors._wired import WiredExecutor
from concurrent_exec.executors.callback import A_STRETCH
from concurrent_exec.model import (
    Clock,
    Limiter,
    Observer,
    RetryPolicy,
    Session,
    UnknownDriverError,
)
from concurrent_exec.model.options import number, one_of, positive_int
from concurrent_exec.run import Job, Message, succeed_all
from concurrent_exec.run.interrupts import interrupted

R = TypeVar("R")

BatchMode = Literal["partition_key", "replica_set"]


class BatchExecutor(WiredExecutor[R]):
    """Sends prepared writes together, in UNLOGGED batches; all else alone, as it comes.

    An INSERT, UPDATE or DELETE goes with others if it is prepared, or bound, with a marker for
    each column of its partition key. Alone go lightweight transactions, updates of counters,
    statements with IN, with a custom payload, or traced, those larger than `max_batch_bytes`,
    what is sent again, and all that is not prepared.

    A batch has one timestamp, under which of two values the larger would win and not the later.
    So two writes of one row never share a batch, nor do those of a partition of which one may
    touch the other's row: a range of rows, a static column. The writes of one partition are
    handed to the session in the order in which they were taken, so the later has the later
    timestamp. `order_by` promises more: that the earlier one has been answered.

    When a batch fails that has only idempotent statements, each is sent again, alone and with the
    timestamp it had: what then fails is its own failure. Else all fail with the batch's error,
    which the `batch_size` of their failures tells.

    On a session that `DirectExecutor` knows, all that is prepared goes over the session's own
    connections as it does there; else through `execute_async`.
    """

    _resends = True

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 1000,
        batch_mode: BatchMode = "partition_key",
        max_batch_statements: int = 100,
        max_batch_bytes: int = 4096,
        linger: float = 0.005,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor; the options are those of `Executor`, and these:

        concurrency: the most statements in flight at once, as everywhere, not batches: enough
            for several of these.
        batch_mode: "partition_key", a batch has writes of one partition, and is applied as one;
            or "replica_set", of partitions which the same nodes have. That is faster where
            partitions have few rows, but a part of a batch may be applied and another not, and
            Cassandra warns of more than ten partitions.
        max_batch_statements: the most statements in a batch.
        max_batch_bytes: the most bytes that they weigh together. The server's own measure is
            estimated, rather too high than too low. Cassandra warns of a batch over several
            partitions from 5 KiB on and refuses it from 50 KiB on, unless it is told otherwise.
        linger: the seconds that statements wait at most for others to go with, while something
            is in flight; 0 for not at all.

        Raises TypeError or ValueError naming an option that is wrong.
        """
        super().__init__(
            session,
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
            observers=observers,
        )
        one_of("batch_mode", batch_mode, ("partition_key", "replica_set"))
        self._most = positive_int("max_batch_statements", max_batch_statements)
        self._most_bytes = positive_int("max_batch_bytes", max_batch_bytes)
        gate = self._gate
        self._linger = Linger(gate, number("linger", linger, at_least=0), lambda: gate.limit // 2)
        self._writes = Writes(session, by_replicas=batch_mode == "replica_set")
        self._wire: Wire | None = _wire_of(session, gate.clock)
        self._sender = Lock()
        self._has_more = False

    def _launch(self) -> None:
        # One thread at a time takes and sends, so that the order of taking is that of sending,
        # and timestamps rise with it. Another leaves it a note, as does an answer that comes
        # within execute_async.
        self._has_more = True
        left = self._gate.limit + A_STRETCH
        gives_up = False
        while self._has_more and not gives_up and self._sender.acquire(blocking=False):
            gives_up = True  # also where something raises
            self._here.note.launching = True
            try:
                self._has_more = False
                while not (interrupted() or left <= 0 or self._linger.waits(self._living_runs())):
                    jobs = self._take_many(self._gate.limit)
                    if not jobs:
                        break
                    left -= len(jobs)
                    self._send_grouped(jobs)
                gives_up = left <= 0 or interrupted()
            finally:
                self._here.note.launching = False
                self._sender.release()
                if gives_up:  # what others have left a note of must not wait for this thread
                    self._gate.launch_elsewhere()

    def _send_grouped(self, jobs: list[Job]) -> None:
        outgoing: Outgoing = _ByDriver(self._writes)
        if self._wire is not None:
            outgoing = self._wire.begin(self._writes, self._on_answers)
        groups = grouped(outgoing.look(jobs), most=self._most, most_bytes=self._most_bytes)
        added: list[Message] = []
        troubles: list[BaseException] = []
        answers_may_have_come = False
        for group in groups:
            if answers_may_have_come:  # and with one a failure that stops a run
                group = [each for each in group if not each.job.work.recall(each.job)]
                if not group:
                    continue
            message = _message(group)
            if outgoing.add(message, group):
                added.append(message)
            else:
                # What was before it may be a write of the same row.
                self._send_added(outgoing, added, troubles)
                self._send_by_driver([message], troubles)
                added, answers_may_have_come = [], True
        self._send_added(outgoing, added, troubles)
        if troubles:
            raise troubles[-1]

    def _send_added(
        self, outgoing: Outgoing, added: Sequence[Message], troubles: list[BaseException]
    ) -> None:
        """Send what `outgoing` has taken; add to `troubles` what is raised."""
        if self._gate.notes_sending:
            for message in added:
                self._gate.sends(message)
        try:
            unsent = outgoing.send()
        except BaseException as exc:
            for message in added:
                message.fail(exc)
            troubles.append(exc)
        else:
            self._send_by_driver(unsent, troubles)

    def _send_by_driver(self, messages: Iterable[Message], troubles: list[BaseException]) -> None:
        for message in messages:
            try:
                self._send(message)
            except BaseException as exc:  # the others have their permits, and must be sent
                troubles.append(exc)

    def _succeed(self, succeeded: Succeeded) -> None:
        succeed_all([(job, value) for message, value in succeeded for job in _jobs_of(message)])


def _message(group: list[Write]) -> Message:
    """Return what a group is sent as."""
    size = len(group)
    for write in group:
        write.job.batch_size = size
    return group[0].job if size == 1 else _Batch(group)


def _jobs_of(message: _Batch | Job) -> Sequence[Job]:
    return message.jobs if isinstance(message, _Batch) else (message,)


class _Batch:
    """Jobs that go in one message."""

    parameters = None

    def __init__(self, writes: list[Write]) -> None:
        self.jobs = [write.job for write in writes]
        self.sending = self.jobs[0].sending
        self._writes = writes
        self._idempotent = self.jobs[0].statement.is_idempotent or self.sending.assume_idempotent

    @property
    def statement(self) -> Any:
        """What the driver sends for them."""
        return batch_of(self._writes)

    @property
    def settled(self) -> bool:
        return all(job.settled for job in self.jobs)

    @property
    def timestamp(self) -> int | None:
        return self.jobs[0].timestamp

    @timestamp.setter
    def timestamp(self, timestamp: int | None) -> None:
        for job in self.jobs:
            job.timestamp = timestamp

    def note_sending(self, now: float, in_flight: int) -> None:
        for job in self.jobs:
            job.note_sending(now, in_flight)

    def succeed(self, value: Any) -> None:
        succeed_all([(job, value) for job in self.jobs])

    def fail(self, exc: BaseException, *, sent: bool = True) -> None:
        # Any of them may be to blame. Each alone shows which, where that harms none.
        for job in self.jobs:
            job.fail(exc, sent=sent, again=self._idempotent)


class _ByDriver:
    """Takes nothing, so that all is sent by the driver."""

    def __init__(self, writes: Writes) -> None:
        self.look = writes.look

    def add(self, message: Message, writes: Sequence[Write]) -> bool:
        return False

    def send(self) -> list[Message]:
        return []


def _wire_of(session: Any, clock: Clock) -> Wire | None:
    try:
        return open_wire(session, clock)
    except UnknownDriverError:
        return None
