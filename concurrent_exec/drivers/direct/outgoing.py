"""What goes out together, message by message, some of them batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from cassandra.query import BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct.batches import BatchPlan, BatchTerms
from concurrent_exec.drivers.direct.binding import Bound, Columns, values_of
from concurrent_exec.drivers.direct.go import Go, alike
from concurrent_exec.drivers.direct.plan import Framed, Plan
from concurrent_exec.drivers.direct.request import Request
from concurrent_exec.drivers.shapes import Shapes
from concurrent_exec.drivers.writes import Write, Writes, marks_of
from concurrent_exec.run import Job, Message

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.wire import SessionWire

_new: Callable[[type[Write], tuple[Any, ...]], Write] = tuple.__new__
"""Makes a Write of its fields in half the time that its class takes."""


class _Way:
    """How executions of one statement are sent, alone and in batches."""

    __slots__ = ("batch_plan", "plan", "row", "shape", "table")

    def __init__(self, plan: Plan, batch_plan: BatchPlan, shapes: Shapes) -> None:
        self.plan = plan
        self.batch_plan = batch_plan
        self.shape = shapes.of(plan.terms.prepared)
        self.table = plan.terms.keyspace, plan.terms.table
        row = None if self.shape is None else self.shape.row
        self.row = None if row is None else tuple([2 * index + 1 for index in row])
        """The places of the clustering key among the encoded values and their sizes."""

    @staticmethod
    def bound_statement(given: Any, encoded: Sequence[bytes]) -> BoundStatement:
        """Return a statement, prepared or bound, with its values as they were encoded."""
        is_prepared = type(given) is PreparedStatement
        bound = BoundStatement(given if is_prepared else given.prepared_statement)
        bound.values = values_of(encoded)
        bound.retry_policy = given.retry_policy
        bound.consistency_level = given.consistency_level
        bound.serial_consistency_level = given.serial_consistency_level
        bound.is_idempotent = given.is_idempotent
        return bound


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
        self._ways: dict[tuple[Plan, BatchPlan], _Way] = {}
        self._companies: dict[Hashable, Hashable] = {}

    def look(self, jobs: Iterable[Job]) -> Iterator[Write]:
        """Say what is known of each statement. Never raises: sending it brings what is wrong."""
        for same in alike(jobs):
            way = None if self._go is None else self._way_or_none(self._go, same[0])
            if self._go is None or way is None:
                yield from map(self._writes.look_at, same)
            else:
                yield from self._look_together(self._go, way, same)

    def _look_together(self, go: Go, way: _Way, jobs: Sequence[Job]) -> Iterable[Write]:
        columns = go.bind_in_columns(way.plan, jobs)
        if columns is None:
            return self._one_by_one(go, way, jobs, go.bind_each(way.plan, jobs))
        try:
            found = self._in_columns(go, way, jobs, columns)
        except Exception:  # one by one shows for which of them
            found = None
        return found or self._one_by_one(go, way, jobs, columns.bounds())

    def _in_columns(
        self, go: Go, way: _Way, jobs: Sequence[Job], columns: Columns
    ) -> list[Write] | None:
        """Return what `_one_by_one` does of jobs of which each may go with others; else None."""
        shape, marks = way.shape, marks_of(jobs[0].sending)
        if shape is None or marks is None or None in columns.keys or any(j.errors for j in jobs):
            return None
        partitions = list(zip(repeat(way.table), columns.keys))
        companies: Iterable[Hashable]
        if self._writes.by_replicas:
            places = list(map(go.replicas(way.plan), columns.keys))  # type: ignore[arg-type]
            if not all(places):
                return None
            known = {place: self._company(place, way.batch_plan, marks) for place in set(places)}
            companies = map(known.__getitem__, places)
        else:
            companies = zip(partitions, repeat(way.batch_plan), repeat(marks))
        values = columns.values[1::2]
        rows: Iterable[Hashable] = repeat(way.row)
        if way.row:
            rows = zip(*(columns.values[at] for at in way.row), strict=True)
        encoded = list(zip(*columns.values, strict=True))
        sizes = (len(all_of_it) - 4 * len(values) for all_of_it in map(b"".join, encoded))
        weights = map(shape.weight, sizes, zip(*values, strict=True))
        fields = zip(jobs, repeat(way), encoded, companies, partitions, rows, weights)
        return list(map(_new, repeat(Write), fields))

    def _one_by_one(
        self, go: Go, way: _Way, jobs: Sequence[Job], bounds: Sequence[Bound | None]
    ) -> Iterator[Write]:
        # One long loop, as it is here that the time goes: a call more for each costs what a part of
        # binding does.
        look_at = self._writes.look_at
        try:
            replicas = go.replicas(way.plan) if self._writes.by_replicas else None
        except Exception:  # the driver raises it again, and says what is wrong
            yield from map(look_at, jobs)
            return
        companies: dict[Hashable, Hashable] = {}
        marks = marks_of(jobs[0].sending)
        shape, row = way.shape, way.row
        for job, bound in zip(jobs, bounds, strict=True):
            if bound is None:
                yield look_at(job)
                continue
            encoded, key = bound
            if key is None:
                yield Write(job, way, encoded, None, None, None, 0)
                continue
            try:
                place = replicas and replicas(key)
            except Exception:  # the driver raises it again, and says what is wrong
                yield look_at(job)
                continue
            partition = way.table, key
            if shape is None:
                yield Write(job, way, encoded, None, partition, None, 0)
                continue
            company: Hashable = None
            if marks is not None and not job.errors:
                if not place:
                    company = partition, way.batch_plan, marks
                elif (company := companies.get(place)) is None:
                    company = companies[place] = self._company(place, way.batch_plan, marks)
            yield _new(
                Write,
                (
                    job,
                    way,
                    encoded,
                    company,
                    partition,
                    row and tuple([encoded[at] for at in row]),
                    shape.weight(
                        # Of each value its size is there as well, in four bytes.
                        len(b"".join(encoded)) - 2 * len(encoded),
                        encoded[1::2] if shape.collections else (),
                    ),
                ),
            )

    def add(self, message: Message, writes: Sequence[Write]) -> bool:
        """Take a message of these, which `look` has returned; False where it is the driver's."""
        first, go = writes[0], self._go
        if first.way is None or go is None:
            return False
        plan: Plan = first.way.plan
        key = None if first.partition is None else first.partition[1]  # type: ignore[index]
        batch_plan: BatchPlan | None = first.way.batch_plan if len(writes) > 1 else None
        framed = batch_plan or plan
        try:
            if batch_plan is None:
                target = go.target(plan, key)
            else:
                target = go.target_of_batch(batch_plan, plan, key)
            if target is None:
                return False
            timestamp = self._timestamp(message, framed)
            if batch_plan is None:
                body = plan.body(first.bound, timestamp)
            else:
                parts = [(write.way.plan, write.bound) for write in writes]
                body = batch_plan.body(parts, timestamp)
        except Exception:  # the driver raises it again, and says what is wrong
            return False
        target.requests.append(
            Request(self._wire, message, framed, target, body, timestamp, self._now)
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

    def _timestamp(self, message: Message, framed: Framed) -> int | None:
        if not framed.timestamped:
            return None
        if message.timestamp is None:
            timestamp = next(self._timestamps, None)
            if timestamp is None:
                self._timestamps = self._more_timestamps()
                timestamp = next(self._timestamps)
            message.timestamp = timestamp
        return message.timestamp

    def _way_or_none(self, go: Go, job: Job) -> _Way | None:
        try:
            return self._way(go, job)
        except Exception:  # the driver raises it again, and says what is wrong
            return None

    def _way(self, go: Go, job: Job) -> _Way | None:
        if job.parameters and type(job.statement) is BoundStatement:
            return None
        plan = go.plan(job)
        if plan is None:
            return None
        batch_plan = go.batch_plan(BatchTerms.of(plan, job.statement))
        way = self._ways.get((plan, batch_plan))
        if way is None:
            way = self._ways[plan, batch_plan] = _Way(plan, batch_plan, self._writes.shapes)
        return way

    def _company(self, *of: Hashable) -> Hashable:
        """Return one and the same object for equals, which are so compared at once."""
        return self._companies.setdefault(of, of)
