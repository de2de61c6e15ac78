"""Where every record ends in exactly one place: done, or in the failed file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any

from concurrent_exec.bulk.appending import Appender
from concurrent_exec.bulk.failed import failed_line, not_found_line, rejected_line
from concurrent_exec.bulk.journal import Entry, Journal
from concurrent_exec.bulk.outputs import Output
from concurrent_exec.bulk.portions import Settlement
from concurrent_exec.bulk.records import Chunk, Rejected, where
from concurrent_exec.bulk.settled import Part, Range, Settled
from concurrent_exec.bulk.sizes import mean_size

COUNTS = ("succeeded", "failed", "rejected", "rows", "not_found", "not_applied", "retries")

ENOUGH = 16 * 1024 * 1024
"""Bytes of records that are read and not settled, about, beyond which no more are read. They take
several times as much, with what is read, made and sent of them. Of records below a kilobyte that is
more than the default concurrency has use for."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a run writes; None for what is not wanted."""

    journal: Journal | None = None
    failed: Appender | None = None
    output: Output | None = None
    not_found: Appender | None = None

    def growing(self) -> dict[str, Appender | Output]:
        """Return those that grow, by their names in the journal."""
        found = {"failed": self.failed, "output": self.output, "not_found": self.not_found}
        return {name: file for name, file in found.items() if file is not None}

    def close(self) -> None:
        """Close all."""
        for file in self.growing().values():
            file.close()


class Ledger:
    """Takes in what becomes of each record, from the thread that reads and from the caller's.

    A record is settled in one step with what is written of it. An entry of the journal is made of
    a moment between two steps, and written when all that belongs to it is on the disk: so after
    any death the files, cut to the entry's lengths, have just what belongs to its records.
    """

    def __init__(
        self,
        files: Files,
        entry: Entry,
        *,
        with_keys: Sequence[int] | None = None,
        passed_budget: Callable[[int, int], bool] = lambda failed, finished: False,
        over_budget: Callable[[], object] = lambda: None,
    ) -> None:
        """Go on from `entry`.

        with_keys: the positions of the parameters that stand before each row of the output.
        passed_budget: says whether so many failures of so many records are too many.
        over_budget: called, once or more often, where they are.
        """
        self._files = files
        self._last = self._began_with = entry
        self._keys = with_keys
        self._passed_budget = passed_budget
        self._over_budget = over_budget
        self._settled = Settled(entry.done, entry.beyond)
        self._sent = 0
        self._start = time.monotonic()
        self._lock = Lock()
        self._room = Condition(self._lock)
        """Where the one who reads waits for records to settle."""
        self._broken = self._closed = False
        self.counts: Counter[str] = Counter({name: entry.counts.get(name, 0) for name in COUNTS})
        self.kinds: Counter[str] = Counter(entry.kinds)
        self.examples: dict[str, str] = {}
        """The first failure of each kind, in words without values."""
        self.retries: Callable[[], int] = int
        """Says how many retries there were in this run."""

    @property
    def done(self) -> int:
        """The ordinal before which all records are settled."""
        return self._settled.done

    @property
    def seconds(self) -> float:
        """How long it has taken so far, over all runs."""
        return self._began_with.seconds + time.monotonic() - self._start

    @property
    def settled(self) -> int:
        """How many records are settled, over all runs."""
        return _settled(self.counts)

    @property
    def settled_before(self) -> int:
        """How many of them an earlier run has settled."""
        return _settled(self._began_with.counts)

    @property
    def before(self) -> tuple[int, int]:
        """How many records have failed, and how many have settled, in this run."""
        return (
            _failed(self.counts) - _failed(self._began_with.counts),
            self.settled - self.settled_before,
        )

    def settled_here(self) -> list[Range]:
        """Return which records are settled, from the one that this run began with on."""
        done, beyond = self._settled.snapshot()
        return [
            (first, end) for first, end in ((self._began_with.done, done), *beyond) if end > first
        ]

    def settled_within(self, first: int, end: int) -> list[Range]:
        """Return which records are settled, of those from `first` up to `end`."""
        done, beyond = self._settled.snapshot()
        clipped = [(max(first, one), min(end, other)) for one, other in ((0, done), *beyond)]
        return [(one, other) for one, other in clipped if other > one]

    # ---- the side of other processes ----

    def takes(self, settlement: Settlement) -> None:
        """Settle the records that another process has done. Raises OSError."""
        files = self._files
        with self._step():
            self.counts.update(settlement.counts)
            self.kinds.update(settlement.kinds)
            for kind, words in settlement.examples.items():
                self.examples.setdefault(kind, words)
            if settlement.failed and files.failed is not None:
                files.failed.write(settlement.failed)
            if settlement.not_found and files.not_found is not None:
                files.not_found.write(settlement.not_found)
            if settlement.rows and files.output is not None:
                files.output.add(settlement.rows)
            for first, end in settlement.settled:
                self._settled.add(first, end)
        self._judge(bool(settlement.kinds))

    def skip(self, first: int, end: int) -> None:
        """Note that there are no records from `first` up to, but not including, `end`."""
        with self._lock:
            self._settled.add(first, end)

    # ---- the side that reads ----

    @property
    def closed(self) -> bool:
        """Whether it takes in nothing more."""
        return self._closed

    def opens(
        self,
        chunk: Chunk,
        ordinals: Sequence[int],
        parameters: Sequence[Any],
        rejected: Sequence[Rejected],
    ) -> Sequence[Any]:
        """Take in a chunk; return the parameters of those of its records that are to be sent.

        ordinals, parameters: of those that can be sent, before those are left out that an earlier
            run has settled.
        rejected: the others.

        They are to be sent in this order, and after those of earlier chunks. Raises OSError.
        """
        size = mean_size(parameters)
        with self._step():
            if self._closed:  # the run has been stopped, and what it writes is closed
                return ()
            has = self._settled.has
            if self._began_with.beyond or chunk.first < self._began_with.done:
                left = [n for n, ordinal in enumerate(ordinals) if not has(ordinal)]
                ordinals = [ordinals[n] for n in left]
                parameters = [parameters[n] for n in left]
                rejected = [each for each in rejected if not has(each.ordinal)]
            for each in rejected:
                self._reject(each, chunk)
            kept = parameters if self._keys else None
            part = Part(chunk, self._sent, ordinals, kept, size * len(ordinals))
            self._settled.opens(part)
            self._sent += len(ordinals)
        self._judge(bool(rejected))
        return parameters

    def wait_for_room(self) -> None:
        """Wait while `ENOUGH` is read and not settled, and the run goes on."""
        with self._room:
            self._room.wait_for(lambda: self._closed or self._settled.size <= ENOUGH)

    def _reject(self, rejected: Rejected, chunk: Chunk) -> None:
        self._note("rejected", rejected.kind, rejected.message)
        if self._files.failed is not None:
            self._files.failed.write(rejected_line(rejected, chunk.kind))

    # ---- the side that takes results ----

    def succeeded(self, indexes: Sequence[int]) -> None:
        """Settle the records that were sent at these positions, of which nothing is written."""
        with self._step():
            self._settled.settle(indexes)
            self.counts["succeeded"] += len(indexes)

    def answered(
        self, index: int, rows: Sequence[Sequence[Any]] | None, applied: bool = True
    ) -> None:
        """Settle the record that was sent at position `index`, which brought `rows`.

        rows: None where the statement is no read.
        applied: False for a conditional write whose condition was not met. Raises OSError.
        """
        files = self._files
        with self._step():
            part = self._settled.part_of(index)
            self.counts["succeeded"] += 1
            if not applied:
                self.counts["not_applied"] += 1
            if rows:
                self.counts["rows"] += len(rows)
            elif rows is not None:
                self.counts["not_found"] += 1
                if files.not_found is not None:
                    files.not_found.write(not_found_line(part.chunk, part.row(index)))
            if rows and files.output is not None:
                if self._keys:
                    assert part.parameters is not None
                    parameters = part.parameters[index - part.first_index]
                    keys = [parameters[position] for position in self._keys]
                    rows = [[*keys, *row] for row in rows]
                files.output.add(rows)
            self._settled.settle((index,))

    def failed(self, index: int, error: BaseException, attempts: int) -> None:
        """Settle the record that was sent at position `index`, which failed. Raises OSError."""
        with self._step():
            part = self._settled.part_of(index)
            chunk, row = part.chunk, part.row(index)
            # What a server says may have values.
            kind = type(error).__name__
            self._note("failed", kind, f"{where(chunk, chunk.places[row])}: {kind}")
            if self._files.failed is not None:
                self._files.failed.write(failed_line(chunk, row, error, attempts))
            self._settled.settle((index,))
        self._judge(True)

    def _note(self, count: str, kind: str, words: str) -> None:
        self.counts[count] += 1
        self.kinds[kind] += 1
        self.examples.setdefault(kind, words)

    def _judge(self, has_failures: bool) -> None:
        if not has_failures:
            return
        # What an earlier run has failed in was its own budget's matter.
        if self._passed_budget(*self.before):
            self._over_budget()

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Do all or nothing: a step that was broken off is in no entry of the journal."""
        with self._lock:
            size = self._settled.size
            try:
                yield
            except BaseException:
                self._broken = True
                raise
            if self._settled.size <= ENOUGH < size:
                self._room.notify_all()

    def close(self) -> None:
        """Take in nothing more: what reads may go on for a while after a run was stopped."""
        with self._lock:
            self._closed = self._broken = True
            self._room.notify_all()

    # ---- the journal ----

    def checkpoint(self, *, finished: bool = False) -> None:
        """Bring to the disk what is settled, and then an entry that says so. Raises OSError.

        Nothing is written where nothing is new, or where a step was broken off.
        """
        retries = self._began_with.counts.get("retries", 0) + self.retries()
        with self._step():
            if self._broken:
                return
            growing = self._files.growing()
            for file in growing.values():
                file.flush()
            done, beyond = self._settled.snapshot()
            self.counts["retries"] = retries
            entry = Entry(
                done=done,
                beyond=tuple(beyond),
                lengths={name: file.length for name, file in growing.items()},
                counts=dict(self.counts),
                kinds=dict(self.kinds),
                seconds=self.seconds,
                finished=finished,
            )
        last = self._last
        if (entry.done, entry.beyond, finished) == (last.done, last.beyond, last.finished):
            return
        try:
            for file in growing.values():
                file.sync()
            if self._files.journal is not None:
                self._files.journal.write(entry)
        except BaseException:
            self._broken = True  # what one fsync has failed to write, the next does not report
            raise
        self._last = entry


def _failed(counts: Mapping[str, int]) -> int:
    return counts.get("failed", 0) + counts.get("rejected", 0)


def _settled(counts: Mapping[str, int]) -> int:
    return counts.get("succeeded", 0) + _failed(counts)
