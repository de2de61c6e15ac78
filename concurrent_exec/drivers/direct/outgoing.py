"""What goes out together, message by message, some of them batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from cassandra.query import BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct.batches import BatchPlan, BatchTerms, Encoded
from concurrent_exec.drivers.direct.go import Go
from concurrent_exec.drivers.direct.plan import Framed, Plan
from concurrent_exec.drivers.direct.request import Request
from concurrent_exec.drivers.shapes import Shapes
from concurrent_exec.drivers.writes import Write, Writes
from concurrent_exec.run import Job, Message

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.wire import SessionWire


class _Kind:
    """What all executions of a statement have in common."""

    __slots__ = ("batch_plan", "plan", "row", "shape", "table")

    def __init__(self, plan: Plan, batch_plan: BatchPlan, shapes: Shapes) -> None:
        self.plan = plan
        self.batch_plan = batch_plan
        self.shape = shapes.of(plan.terms.prepared)
        self.table = plan.terms.keyspace, plan.terms.table
        row = None if self.shape is None else self.shape.row
        self.row = None if row is None else tuple([2 * index + 1 for index in row])
        """The places of the clustering key among the encoded values and their sizes."""


class SessionOutgoing:
    """Messages over one session's connections, in the order in which they are added."""

    def __init__(
        self,
        wire: SessionWire,
        go: Go | None,
        writes: Writes,
        timestamps: Callable[[], Iterator[int]],
        now: float,
    ) -> None:
        """Make one; without a `go` all is the driver's to send."""
        self._wire = wire
        self._go = go
        self._writes = writes
        self._more_timestamps = timestamps
        self._timestamps: Iterator[int] = iter(())
        self._now = now
        self._statement: Any = None
        self._sending: Any = None
        self._kind: _Kind | None = None

    def look(self, job: Job) -> Write:
        """Say what is known of a statement. Never raises: sending it brings what is wrong."""
        try:
            if job.statement is not self._statement or job.sending is not self._sending:
                self._meet(job)
            kind = self._kind
            if kind is None:
                return self._writes.look(job)
            plan, shape = kind.plan, kind.shape
            if type(job.statement) is PreparedStatement:
                encoded, key = plan.binder.bind(job.parameters)
            else:
                encoded, key = plan.binder.bound(job.statement)
        except Exception:  # the driver raises it again, and says what is wrong
            return self._writes.look(job)
        bound = Encoded(plan, encoded, key, job.statement)
        if key is None:
            return Write(bound, None, None, 0, None)
        partition = (*kind.table, key)
        if shape is None:
            return Write(bound, partition, None, 0, None)
        row = kind.row
        return Write(
            bound,
            partition,
            None if row is None else tuple([encoded[place] for place in row]),
            # Of each value its size is there as well, in four bytes.
            shape.weight(
                sum(map(len, encoded)) - 2 * len(encoded),
                encoded[1::2] if shape.collections else (),
            ),
            kind.batch_plan,
        )

    def replicas(self, write: Write) -> Hashable:
        """Return the nodes that have the partition of `write`; none where they are not known."""
        bound = write.bound
        if self._go is None or type(bound) is not Encoded or bound.routing_key is None:
            return self._writes.replicas(write)
        return self._go.replicas(bound.plan, bound.routing_key)

    def add(self, message: Message, writes: Sequence[Write]) -> bool:
        """Take a message of these, which `look` has returned; False where it is the driver's."""
        first, go = writes[0].bound, self._go
        if type(first) is not Encoded or go is None:
            return False
        try:
            if len(writes) == 1:
                plan: Plan | BatchPlan = first.plan
                target = go.target(first.plan, first.routing_key)
            else:
                plan = cast("BatchPlan", writes[0].marks)  # which `look` has put there
                target = go.target_of_batch(plan, first.plan, first.routing_key)
            if target is None:
                return False
            timestamp = self._timestamp(message, plan)
            if isinstance(plan, BatchPlan):
                body = plan.body([write.bound for write in writes], timestamp)
            else:
                body = plan.body(first.values, timestamp)
        except Exception:  # the driver raises it again, and says what is wrong
            return False
        target.requests.append(
            Request(self._wire, message, plan, target, body, timestamp, self._now)
        )
        return True

    def send(self) -> list[Message]:
        """Send what was added since the last time; return what was not sent."""
        # What the driver sends next has a later timestamp than all before, and an earlier one
        # than all behind it.
        self._timestamps = iter(())
        unsent: list[Message] = []
        if self._go is not None:
            for target in self._go.targets():
                unsent.extend(self._wire.send_to(target))
        return unsent

    def _timestamp(self, message: Message, plan: Framed) -> int | None:
        if not plan.timestamped:
            return None
        if message.timestamp is None:
            timestamp = next(self._timestamps, None)
            if timestamp is None:
                self._timestamps = self._more_timestamps()
                timestamp = next(self._timestamps)
            message.timestamp = timestamp
        return message.timestamp

    def _meet(self, job: Job) -> None:
        self._kind = None
        self._statement, self._sending = job.statement, job.sending
        if self._go is None or (job.parameters and type(job.statement) is BoundStatement):
            return
        plan = self._go.plan(job)
        if plan is not None:
            batch_plan = self._go.batch_plan(BatchTerms.of(plan, job.statement))
            self._kind = _Kind(plan, batch_plan, self._writes.shapes)
