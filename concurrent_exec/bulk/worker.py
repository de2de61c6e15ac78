"""What another process does of a bulk run: it converts, sends and settles portions of it."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain
from operator import add
from threading import Lock
from typing import Any, Literal

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.budget import budget_of
from concurrent_exec.bulk.ledger import Ledger
from concurrent_exec.bulk.portion_ledger import PortionLedger, end_of
from concurrent_exec.bulk.portions import CHUNKS, SHARD, Portion, Settlement, Task
from concurrent_exec.bulk.records import Chunk, NoRecordsError, Source, cut
from concurrent_exec.bulk.sending import make_executor, profile_for, required_markers
from concurrent_exec.bulk.settling import Settling
from concurrent_exec.bulk.sources import source_of
from concurrent_exec.drivers.travelling import arrived, dumps
from concurrent_exec.executors import Executor
from concurrent_exec.executors.opening import open_session
from concurrent_exec.model import ExecutorShutdownError
from concurrent_exec.model.pickling import pack_error
from concurrent_exec.observers import LatencyHistogram
from concurrent_exec.run import Job

Reply = tuple[Literal["done", "raised"], bytes]
"""A `Settlement`, pickled, or the error that keeps the process from doing anything, packed."""


def do_portion(task: bytes, portion: bytes, shard: Any = None) -> Reply:
    """Do a portion in this process; return what became of it. Never raises.

    task, portion: a `Task` and a `Portion`, pickled.
    shard: what the process reads for itself, where the portion has no chunks: a function that
        returns a `Source`, or what `source_of` takes.
    """
    try:
        known: Task = pickle.loads(task)
        with _lock:
            worker = _workers.get(known.key)
            if worker is None:
                worker = _workers[known.key] = Worker(known)
        return "done", dumps(worker.do(pickle.loads(portion), shard))
    except BaseException as exc:
        return "raised", pack_error(exc)


def forget(key: str) -> None:
    """Let the session of a run go."""
    with _lock:
        worker = _workers.pop(key, None)
    if worker is not None:
        worker.close()


_workers: dict[str, Worker] = {}
_lock = Lock()


class Worker:
    """The session of one process for one run, and the executor over it."""

    def __init__(self, task: Task) -> None:
        """Connect, and prepare the statement. Raises what that does."""
        self._task = task
        self._lock = Lock()
        self._stopped = False
        self._mine: tuple[int, ...] = (0, 0)
        """How many records have failed here, and how many have settled."""
        self._timestamps = Timestamps()
        self._base = 0
        """What with the ordinal of a record makes its timestamp."""
        self._ordinals: list[int] = []
        """Of the records of the portion that are sent."""
        self._bindings: dict[int | None, Binding | None] = {}
        """By the shard; None for where there are none."""
        self._reading: dict[int, tuple[int, Iterator[Chunk]]] = {}
        """By the shard: the next ordinal, and what is read from there on."""
        with ExitStack() as opened:
            self.session = open_session(pickle.loads(task.connect), opened)
            self._prepared = arrived(pickle.loads(task.statement), self._prepare)
            if task.columns is not None:
                self._bindings[None] = self._bind(task.columns)
            if hasattr(self.session, "cluster"):
                self.session.cluster.timestamp_generator = self._timestamps
            self._histogram = LatencyHistogram() if task.measures else None
            self._executor = self._make_executor()
            self._profile = profile_for(self.session, **task.profile)
            self._cleanups = opened.pop_all()

    def close(self) -> None:
        """Let the session go."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._cleanups.close()

    def do(self, portion: Portion, shard: Any) -> Settlement:
        """Do a portion; raises what reading a shard does."""
        with self._lock:  # a process of Dask may have several threads
            start = time.monotonic()
            chunks, binding, ended = portion.chunks, self._bindings.get(None), False
            if chunks is None:
                chunks, binding, ended = self._read(portion, shard)
            settlement = self._settle(portion, chunks, binding)
            if self._histogram is not None:
                settlement.latencies = self._histogram.taken()
            settlement.ended = ended
            settlement.end = end_of(portion, chunks)
            settlement.seconds = time.monotonic() - start
            return settlement

    # ---- what it settles ----

    def _settle(
        self, portion: Portion, chunks: Sequence[Chunk], binding: Binding | None
    ) -> Settlement:
        self._stopped = False
        passed = budget_of(self._task.max_errors)
        # What this process has settled since the portion was handed out is not in it yet.
        failures, settled = map(max, portion.before, self._mine)
        ledger = PortionLedger(
            self._task,
            portion,
            passed_budget=lambda more, finished: passed(failures + more, settled + finished),
            over_budget=self._stop,
        )
        ordinals, parameters = ledger.opens_all(chunks, binding)
        if portion.lost is None:
            self._base, self._ordinals = portion.timestamp - portion.first, ordinals
            self._timestamps.begin(self._base + ordinal for ordinal in ordinals)
            self._send(ledger, parameters)
            if self._histogram is not None:  # which may be told later than the results come
                self._executor._wait_until_idle()
        else:
            ledger.loses(len(parameters))
        if self._stopped:
            self._executor = self._make_executor()
        self._mine = tuple(map(add, self._mine, ledger.before))
        return ledger.settlement()

    def _send(self, ledger: Ledger, parameters: Sequence[Any]) -> None:
        task = self._task
        settling = Settling(
            self._prepared,
            idempotent=task.idempotent,
            in_order=task.keeps_rows,
            gives_up=lambda: self._stopped,
            **self._profile,
        )
        if not self._stopped:
            with suppress(ExecutorShutdownError):  # by us
                settling.settle_all(ledger, self._executor, parameters)

    def _make_executor(self) -> Executor[Any]:
        task = self._task
        observers = () if self._histogram is None else (self._histogram,)
        executor = make_executor(self.session, task.choice, observers=observers, **task.executor)
        # Batches are made by one thread at a time, and so have the generator's in their order; each
        # has one for all of its records. Others are sent by several threads at once.
        if task.choice.name != "batch" and hasattr(self.session, "add_request_init_listener"):
            executor._stamp_by(self._stamp)
        return executor

    def _stamp(self, job: Job) -> int:
        return self._base + self._ordinals[job.index]

    def _stop(self) -> None:
        """Send nothing more of this portion, as too many have failed."""
        self._stopped = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    # ---- what it reads for itself ----

    def _read(self, portion: Portion, shard: Any) -> tuple[Sequence[Chunk], Binding | None, bool]:
        """Return records of a shard, what binds them, and whether they are its last."""
        base = portion.first - portion.first % SHARD
        following, chunks = self._reading.pop(base, (-1, iter(())))
        if following != portion.first:  # another process has read it so far
            chunks = self._open(base, shard, portion.first - base)
        found: list[Chunk] = []
        end = portion.first + portion.most
        for chunk in chunks:
            found.append(cut(chunk, chunk.first, end))
            following = found[-1].first + found[-1].count
            # Whoever does this portion again must find its end in the same place.
            if following == end or len(found) == CHUNKS:
                rest = cut(chunk, following)
                self._reading[base] = following, chain([rest] if rest.count else (), chunks)
                return found, self._bindings[base], False
        return found, self._bindings.pop(base), True

    def _open(self, base: int, shard: Any, start: int) -> Iterator[Chunk]:
        source: Source = shard() if callable(shard) else source_of(shard)
        try:
            self._bindings[base] = self._bind(source.columns)
        except NoRecordsError:
            self._bindings[base] = None
            return iter(())
        return (_shifted(chunk, base) for chunk in source.chunks(start) if chunk.count)

    def _bind(self, columns: Sequence[str] | int) -> Binding:
        return Binding(
            self._prepared,
            columns,
            required=required_markers(self.session, self._prepared),
            **self._task.binding,
        )

    def _prepare(self, text: str, keyspace: str | None) -> Any:
        options = {} if keyspace is None else {"keyspace": keyspace}
        return self.session.prepare(text, **options)


def _shifted(chunk: Chunk, base: int) -> Chunk:
    """Return a chunk of a shard with the ordinals that its records have in the whole run."""
    ordinals = chunk.ordinals
    return replace(
        chunk,
        first=chunk.first + base,
        ordinals=range(ordinals.start + base, ordinals.stop + base)
        if isinstance(ordinals, range)
        else [ordinal + base for ordinal in ordinals],
        rejected=[replace(each, ordinal=each.ordinal + base) for each in chunk.rejected],
    )


class Timestamps:
    """A cluster's generator that gives each record the timestamp that is set aside for it."""

    def __init__(self) -> None:
        """Make one that knows of no record yet."""
        self._left: Iterator[int] = iter(())

    def begin(self, timestamps: Iterable[int]) -> None:
        """Give these, in this order, to what is sent next."""
        self._left = iter(list(timestamps))

    def __call__(self) -> int:
        """Return the next one, in microseconds; of the clock where there is none, as for pages."""
        found = next(self._left, None)
        return time.time_ns() // 1000 if found is None else found
