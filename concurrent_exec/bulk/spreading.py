"""A bulk run by other processes: who does which portion, and what becomes of it.

The ledger stays here, and takes each portion in one step, with all that is written of it. So
journal, failed file and output are those of a run in one process, and either can resume the other.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.errors import NoWorkersError
from concurrent_exec.bulk.ledger import Ledger
from concurrent_exec.bulk.portion_ledger import lost
from concurrent_exec.bulk.portions import SHARD, Portion, Settlement, Task
from concurrent_exec.bulk.records import Chunk, InputError, cut
from concurrent_exec.bulk.sizes import mean_size
from concurrent_exec.bulk.worker import do_portion, forget
from concurrent_exec.bulk.workers import Shards, Workers
from concurrent_exec.drivers.travelling import dumps
from concurrent_exec.model import WorkerLostError
from concurrent_exec.model.pickling import unpack_error
from concurrent_exec.observers import LatencyHistogram

SECONDS = 0.3
"""About so long a process has to do with a portion: after it the journal has it, a stop waits for
it, and what is lost with a process is done again."""
PER_PROCESS_SECONDS = 0.006
"""But at least so long for each process that there is: to hand out a portion takes up to 3 ms of
one core, here or in a scheduler, which so is half idle (docs/scaling.md)."""
FIRST = 1_000
MOST = 10_000
"""Records of a portion: of the first one, and of any; ..."""
LARGE = 8 * 1024 * 1024
"""... and about how many bytes of the memory they take at most, where a chunk has not more."""
PER_PROCESS = 2
"""Portions that a process has: one that it does, and one that waits for it."""
AHEAD = 16
"""Chunks that are read ahead of the processes."""
MISSING = 1.0
"""Seconds before a process is asked for again that was not to be had."""
PATIENCE = 60.0
"""Seconds without any process, after which a run ends."""
ATTEMPTS = 5
"""How often a portion is handed out whose process dies: that may be the portion's own doing."""

log = logging.getLogger(__name__)


@dataclass(slots=True, order=True)
class _Given:
    """A portion that is to be done, or that a process has."""

    first: int
    portion: Portion = field(compare=False)
    count: int = field(compare=False)
    """How many records it has, or has at most."""
    shard: Any = field(compare=False, default=None)
    is_last: bool = field(compare=False, default=False)
    """Whether the next one of its shard is not made yet."""
    lane: int = field(compare=False, default=0)
    """Who has, or had, it."""
    deaths: int = field(compare=False, default=0)
    """How often its process has died; `ATTEMPTS` where no other is to be asked."""


_END = object()
"""The input is at its end."""


class Spread:
    """Hands out portions, and takes in what becomes of them, in the thread that calls `run`."""

    def __init__(
        self,
        task: Task,
        workers: Workers,
        ledger: Ledger,
        *,
        binding: Binding | None,
        in_order: bool,
        max_per_second: float | None,
        histograms: Sequence[LatencyHistogram],
    ) -> None:
        """Make one; nothing is started yet.

        task: what each process is told.
        binding: of the records that are read here.
        in_order: whether portions settle in the order of the input, as rows are put out. What is
            done behind a gap when the run ends is settled all the same where it must not be done
            twice.
        max_per_second: of all processes together.
        histograms: take in what the processes have measured.
        """
        self._histograms = histograms
        self._task = task
        self._binding = binding
        self._pickled = pickle.dumps(task)
        self._workers = workers
        self._ledger = ledger
        self._in_order = in_order
        self._lanes: list[Executor | None] = [None] * workers.processes
        self._busy = [0] * workers.processes
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._room = Semaphore(AHEAD)
        self._unread: deque[Chunk] = deque()
        """What was read, and is in no portion yet."""
        self._again: list[_Given] = []
        """A heap of portions that are made."""
        self._out: dict[int, tuple[_Given, Future[Any]]] = {}
        """Those that a process has, by their first record. None of them has its future, which has
        it: only the collector would free what refers to itself, and with it all of its records."""
        self._done: dict[int, tuple[_Given, Settlement]] = {}
        """Those that wait for their turn to be settled."""
        self._missing: dict[int, float] = {}
        """Until when not to ask for those that are not to be had, by their number."""
        self._alone_since: float | None = None
        """Since when none was to be had that was asked for."""
        self._at_end = self._stopped = self._over = False
        self._trouble: BaseException | None = None
        self._ends_with: BaseException | None = None
        """What reading has raised."""
        self._last_timestamp = 0
        self._seconds = max(SECONDS, workers.processes * PER_PROCESS_SECONDS)
        self._most = int(MOST * self._seconds / SECONDS)
        if max_per_second is not None:
            rate = max_per_second / workers.processes
            self._most = max(1, min(self._most, int(rate * self._seconds)))
        self._size = min(FIRST, self._most)
        self._retries = 0
        ledger.retries = lambda: self._retries

    @property
    def at_work(self) -> int:
        """How many records the processes have."""
        return sum(given.count for given, _ in list(self._out.values()))

    @property
    def retries(self) -> int:
        """How often a statement was sent again."""
        return self._retries

    def stop(self) -> None:
        """Have nothing more sent, and take in what the processes are at. Any thread may call it."""
        self._stopped = True
        self._events.put(None)

    def run(self, chunks: Iterable[Chunk] | Shards) -> bool:
        """Have all records done; say whether all of them are settled.

        Raises what reading raises, after what was read is settled; what a process raises that can
        do nothing, as it can't connect; WorkerLostError where processes die again and again,
        NoWorkersError where none is to be had, or none that can tell what was lost of a shard; and
        what the ledger raises.
        """
        if isinstance(chunks, Shards):
            self._take_shards(chunks)
        else:
            Thread(
                target=self._read, args=(chunks,), name="concurrent_exec-reader", daemon=True
            ).start()
        try:
            while True:
                self._hand_out()
                if not self._goes_on:
                    break
                with suppress(Empty):
                    self._take(self._events.get(timeout=MISSING if self._missing else None))
            if not self._task.idempotent:  # what was sent must not be sent again
                self._in_order = False
                self._settle()
        finally:
            self._close()
        trouble = self._with_untold(self._trouble or self._ends_with)
        if trouble is not None:
            raise trouble
        return self._at_end and not (self._unread or self._again or self._done)

    @property
    def _is_ending(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._stopped or self._trouble is not None

    @property
    def _goes_on(self) -> bool:
        if self._out:
            return True
        if self._is_ending:  # what could be handed out has been: nobody is waited for
            return False
        return not self._at_end or bool(self._unread or self._again)

    # ---- what is read ----

    def _read(self, chunks: Iterable[Chunk]) -> None:
        try:
            for chunk in chunks:
                self._room.acquire()
                if self._over:
                    return
                self._events.put(chunk)
            self._events.put(_END)
        except BaseException as exc:
            self._events.put(exc)

    def _take_shards(self, shards: Shards) -> None:
        self._at_end = True
        for number, shard in enumerate(shards.shards):
            self._add_shard(number * SHARD, shard, number % len(self._lanes))

    def _add_shard(self, first: int, shard: Any, lane: int) -> None:
        """Have the records of a shard done from `first` on that are not settled."""
        end = first - first % SHARD + SHARD
        settled = self._ledger.settled_within(first, end)
        if settled and settled[0][0] == first:
            first = settled.pop(0)[1]
        if first < end:
            portion = Portion(first, self._size, None, settled)
            heappush(
                self._again, _Given(first, portion, self._size, shard, is_last=True, lane=lane)
            )

    def _timestamp(self, count: int) -> int:
        """Return the first of so many timestamps on end, later than all before."""
        first = max(time.time_ns() // 1000, self._last_timestamp + 1)
        self._last_timestamp = first + count - 1
        return first

    # ---- what is handed out ----

    def _hand_out(self) -> None:
        while self._free_lane(None) is not None:
            given = self._next()
            if given is None:
                return
            # A process goes on with its shard: another one would have to read it anew.
            lane = self._free_lane(None if given.shard is None else given.lane)
            if lane is None:
                heappush(self._again, given)
                return
            self._give(given, lane)

    def _next(self) -> _Given | None:
        if self._is_ending:
            return self._next_lost()
        if self._again and (self._has_room or self._again[0].first < min(self._done)):
            return heappop(self._again)
        return self._made() if self._has_room else None

    def _next_lost(self) -> _Given | None:
        """Return one whose records may not be sent again, but are to be told: a resumed run would
        send them."""
        given = min((each for each in self._lost() if each.deaths < ATTEMPTS), default=None)
        if given is not None:
            self._again.remove(given)
            heapify(self._again)
        return given

    def _lost(self) -> list[_Given]:
        """Return the portions of shards that wait to be told as lost."""
        return [each for each in self._again if each.portion.lost is not None]

    @property
    def _has_room(self) -> bool:
        """Whether not too many wait for one before them."""
        return len(self._done) < PER_PROCESS * len(self._lanes)

    def _made(self) -> _Given | None:
        """Return a portion of what was read, None where there is nothing."""
        chunks: list[Chunk] = []
        count = size = 0
        while self._unread and count < self._size and size < LARGE:
            chunk, left = self._unread.popleft(), self._size - count
            if chunk.count > left:
                end = chunk.first + left
                self._unread.appendleft(cut(chunk, end))
                chunk = cut(chunk, chunk.first, end)
            else:
                self._room.release()
            if not self._has(chunk):
                chunks.append(chunk)
                count += chunk.count
                size += sum(mean_size(each) * len(each) for each in chunk.columns.values())
            elif chunks:
                break
        if not chunks:
            return None
        first, end = chunks[0].first, chunks[-1].first + chunks[-1].count
        settled = self._ledger.settled_within(first, end)
        return _Given(first, Portion(first, count, chunks, settled), count)

    def _has(self, chunk: Chunk) -> bool:
        """Say whether all of its records are settled."""
        return self._has_all(chunk.first, chunk.first + chunk.count)

    def _give(self, given: _Given, lane: int) -> None:
        if not given.portion.timestamp:  # one that is given again keeps what it had
            given.portion = replace(given.portion, timestamp=self._timestamp(given.count))
        try:
            data = dumps(replace(given.portion, before=self._ledger.before))
        except Exception as exc:
            heappush(self._again, given)
            self._end_with(
                InputError(
                    f"records {given.first + 1} to {given.first + given.count} can't go to another "
                    f"process, as they can't be pickled: {type(exc).__name__}"
                )
            )
            return
        try:
            pool, future = self._submit(lane, self._pickled, data, given.shard)
        except BrokenExecutor as exc:
            heappush(self._again, given)
            self._miss(lane, exc)
            return
        self._alone_since = None
        given.lane = lane
        self._busy[lane] += 1
        self._out[given.first] = given, future
        future.add_done_callback(lambda done: self._events.put((given, pool, done)))

    def _submit(self, lane: int, *arguments: Any) -> tuple[Executor, Future[Any]]:
        pool = self._lanes[lane] = self._lanes[lane] or self._workers.pool()
        try:
            return pool, pool.submit(do_portion, *arguments)
        except BrokenExecutor:  # since its last reply
            pool.shutdown(wait=False)
            self._lanes[lane] = None
        pool = self._lanes[lane] = self._workers.pool()
        return pool, pool.submit(do_portion, *arguments)

    def _miss(self, lane: int, exc: BrokenExecutor) -> None:
        """Do without a process for a while, as there is none to be had."""
        now = time.monotonic()
        self._missing[lane] = now + MISSING
        self._alone_since = self._alone_since or now
        if not self._out and now - self._alone_since > PATIENCE:
            self._end_with(NoWorkersError(str(exc)))

    def _free_lane(self, wanted: int | None) -> int | None:
        """Return who is to have the next portion, None where all have enough."""
        now = time.monotonic()
        self._missing = {lane: until for lane, until in self._missing.items() if until > now}
        free = [n for n, busy in enumerate(self._busy) if busy < PER_PROCESS]
        free = [lane for lane in free if lane not in self._missing]
        if wanted in free:
            return wanted
        return min(free, key=self._busy.__getitem__) if free else None

    # ---- what comes back ----

    def _take(self, event: Any) -> None:
        if isinstance(event, Chunk):
            self._unread.append(event)
        elif isinstance(event, tuple):
            self._take_reply(*event)
        elif event is None:
            # What waits for its turn; but what is behind it may be done, and has to be settled.
            if self._task.idempotent or not self._in_order:
                for _, future in list(self._out.values()):
                    future.cancel()
        else:
            self._at_end = True
            if event is not _END:
                self._ends_with = event

    def _take_reply(self, given: _Given, pool: Executor, future: Future[Any]) -> None:
        self._busy[given.lane] -= 1
        del self._out[given.first]
        try:
            what, reply = future.result()
        except CancelledError:
            heappush(self._again, given)
        except BrokenExecutor as exc:
            self._lose(given, pool, str(exc) or type(exc).__name__)
        except Exception as exc:  # of a pool of another kind
            self._lose(given, pool, f"{type(exc).__name__}: {exc}")
        else:
            if what == "raised":
                given.deaths = ATTEMPTS
                heappush(self._again, given)
                self._end_with(unpack_error(reply))
            else:
                self._take_settlement(given, reply)

    def _take_settlement(self, given: _Given, reply: bytes) -> None:
        try:
            settlement = pickle.loads(reply)
        except Exception as exc:  # what it says may show values
            self._do_again(given, f"its answer can't be read here: {type(exc).__name__}")
        else:
            self._done[given.first] = given, settlement
            self._settle()

    def _settle(self) -> None:
        """Settle what is done, and whose turn it is."""
        for first in sorted(self._done):
            before = [*self._out, *(given.first for given in self._again[:1])]
            if self._in_order and before and min(before) < first:
                return
            given, settlement = self._done.pop(first)
            self._retries += settlement.retries
            for histogram in self._histograms if settlement.latencies else ():
                assert settlement.latencies is not None
                histogram.add(settlement.latencies)
            self._ledger.takes(settlement)
            self._fit_size(settlement)
            end = settlement.end
            if given.is_last and not settlement.ended:
                self._add_shard(end, given.shard, given.lane)
            if not self._has_all(first, end):
                self._add_rest(given, end, is_last=given.is_last and settlement.ended)
            elif settlement.ended:
                self._ledger.skip(end, first - first % SHARD + SHARD)
            if hasattr(given.shard, "let_go"):
                begin = first - first % SHARD
                if self._has_all(begin, begin + SHARD):
                    given.shard.let_go()

    def _fit_size(self, settlement: Settlement) -> None:
        count = sum(end - first for first, end in settlement.settled)
        if settlement.seconds > 0 and count:
            fits = int(count / settlement.seconds * self._seconds)
            self._size = max(1, min(fits, self._size * 2, self._most))

    def _has_all(self, first: int, end: int) -> bool:
        """Say whether all from `first` up to, but not including, `end` are settled."""
        return first == end or self._ledger.settled_within(first, end) == [(first, end)]

    def _add_rest(self, given: _Given, end: int, is_last: bool) -> None:
        """Have done what a process has left, as it took too many to have failed."""
        settled = self._ledger.settled_within(given.first, end)
        portion = replace(given.portion, most=end - given.first, beyond=settled)
        heappush(self._again, replace(given, portion=portion, is_last=is_last))

    def _lose(self, given: _Given, pool: Executor, reason: str) -> None:
        """Do without a process that was lost, and have done what it had."""
        log.warning("a worker process was lost: %s", reason)
        if self._lanes[given.lane] is pool:
            self._lanes[given.lane] = None
            pool.shutdown(wait=False)
        self._do_again(given, reason)

    def _do_again(self, given: _Given, reason: str) -> None:
        """Have a portion done again that may have been done, or have it told that it is lost."""
        if not self._task.idempotent:
            given.portion = replace(given.portion, lost=reason)
            if given.portion.chunks is not None:
                self._done[given.first] = given, lost(self._task, given.portion, self._binding)
                self._settle()
                return
        given.deaths += 1
        if given.deaths >= ATTEMPTS:
            self._end_with(WorkerLostError(f"{reason}, for the {given.deaths}th time"))
        heappush(self._again, given)

    def _end_with(self, trouble: BaseException) -> None:
        """Send nothing more, and raise this at the end; of two troubles the first is told."""
        self._trouble = self._trouble or trouble

    def _with_untold(self, trouble: BaseException | None) -> BaseException | None:
        """Return what is to be raised, which says what was lost and can't be told of."""
        untold = [self._where(given) for given in sorted(self._lost())]
        if not untold:
            return trouble
        words = (
            f"the worker process was lost that had {', '.join(untold)}, and no other could tell "
            "which these are: they may have been applied, and a resumed run sends them again"
        )
        if trouble is None:
            return NoWorkersError(words)
        log.error(words)
        trouble.add_note(f"concurrent_exec: {words}")
        return trouble

    def _where(self, given: _Given) -> str:
        shard, first = divmod(given.first, SHARD)
        return f"records of shard {shard + 1} from record {first + 1} on ({given.count} at most)"

    def _close(self) -> None:
        self._over = True
        self._room.release()
        for pool in self._lanes:
            if pool is not None:
                try:
                    pool.submit(forget, self._task.key)
                except Exception:
                    log.debug("a pool has ended before", exc_info=True)
                pool.shutdown(wait=not self._out)
