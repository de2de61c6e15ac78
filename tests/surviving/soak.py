"""A client that works on and on, and samples what it holds.

    python -m tests.surviving.soak callback scripted 1000000
    python -m tests.surviving.soak callback real 1200 TABLE

The amount is of statements, or with a real session of seconds. One half of it is a single stream,
whose input pauses now and then until nothing is under way; the other half are rounds of short runs
of every kind: lists, futures, failures, retries, and runs that are closed or dropped half-way. It
prints a line of JSON for each sample, of three series: "stream" in the midst of it, "pauses" when
it is at rest, and "rounds" between them.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from cassandra import WriteTimeout
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

from concurrent_exec import Executor, Retry
from concurrent_exec.connect import connect
from concurrent_exec.executors import threads
from concurrent_exec.testing import Reply, ScriptedSession
from tests.executors import IN_ONE_PROCESS
from tests.integration.support import our_threads, wait_for
from tests.surviving.cycles import in_cycles
from tests.surviving.support import Ledger

CONCURRENCY = 8
BUFFERSIZE = 32
FEEDER = "concurrent_exec-feeder"
TIMER = "concurrent_exec-timer"
"""The names of the threads that pull a stream's input, and that call what is due."""
SAMPLES = 40
"""Of each series; fewer where the amount is small and the machine slow."""
FEWEST_SAMPLES = 15
STRETCH = 50
"""Statements of a stream, at least, before a sample in its midst and from there to a pause."""
KEYS = 1_000
"""Rows that are written, over and over."""
SIZE = 20
"""Statements of a short run."""
RETRY = Retry(max_attempts=3, initial_backoff=0.001)


class Samples:
    """Prints what the process holds, and counts what only the collector could free of it."""

    def __init__(self) -> None:
        self.in_cycles: Counter[str] = Counter()
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        gc.collect()  # what the imports have left
        gc.freeze()  # none of it is ours; to go through it each time would take most of the time

    def look_for_cycles(self) -> None:
        """Take note of what is in cycles now, by the names of its classes, and free it."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        for each in in_cycles(gc.garbage):
            self.in_cycles[f"{type(each).__module__}.{type(each).__qualname__}"] += 1
            del each  # or the last would be found again the next time
        gc.garbage.clear()
        # Frees what the interpreter keeps for later use, too, so that blocks count what is used.
        gc.collect()

    def at_rest(self, series: str, statements: int, feeders: int = 0) -> None:
        """Print what there is when nothing is under way, and only so many feeders wait.

        The executor in use may have a timer left for what it has sent, answered or not.
        """

        ours = [FEEDER] * feeders

        def rests() -> bool:
            return sorted(each.name for each in our_threads()) in (ours, [*ours, TIMER])

        wait_for(rests, 60)
        if gc.isenabled():
            gc.collect()  # its cycles are a driver's
        else:
            self.look_for_cycles()
        self._print(series, statements)

    def in_midst(self, statements: int) -> None:
        """Print what there is while a stream goes on."""
        if gc.isenabled():
            gc.collect()  # each request of a driver's is a cycle, and they come and go
        self._print("stream", statements)

    def _print(self, series: str, statements: int) -> None:
        # Read without a file object, which would leave a block of memory each time.
        pages = int(os.pread(self._statm, 100, 0).split()[1])
        say(
            series=series,
            statements=statements,
            blocks=sys.getallocatedblocks(),
            resident=pages * resource.getpagesize(),
            threads=sum(each.name != TIMER for each in threading.enumerate()),
            descriptors=len(os.listdir("/proc/self/fd")) - 1,  # the folder itself is open
        )


def say(**figures: object) -> None:
    """Print figures as a line of JSON."""
    print(json.dumps(figures), flush=True)


class Budget:
    """How much there is to do: so many statements, or for so many seconds."""

    def __init__(self, statements: int = 0, seconds: float = 0.0) -> None:
        self._statements = statements
        self._seconds = seconds
        self._start = time.monotonic()

    def used(self, statements: int) -> float:
        """Return which part of it is used up, when so many statements are done."""
        if self._statements:
            return statements / self._statements
        return (time.monotonic() - self._start) / self._seconds


class Work:
    """Statements for a session: one succeeds, one fails, and one fails the first time."""

    session: Any
    write: Any
    fail: Any
    fail_once: Any

    def row(self, number: int) -> Any:
        """Return the parameters of `write`."""


class ScriptedWork(Work):
    """On a session that answers at once, and fails as the statement says."""

    def __init__(self) -> None:
        self.session = ScriptedSession(self._reply)
        self.write = "INSERT"
        self.fail = "FAIL"
        self.fail_once = "FAIL ONCE"
        self._failed: set[int] = set()

    def row(self, number: int) -> Any:
        return (number,)

    def _reply(self, statement: Any, parameters: Any) -> Reply:
        if statement == self.fail:
            return Reply(at_once=True, error=ValueError("as the script says"))
        if statement == self.fail_once:
            number = parameters[0]
            if number not in self._failed:
                self._failed.add(number)
                return Reply(at_once=True, error=WriteTimeout("once", write_type=0))
            self._failed.discard(number)
        return Reply(at_once=True, rows=[(1,)])


class RealWork(Work):
    """On the driver's session."""

    def __init__(self, session: Any, table: str) -> None:
        self.session = session
        self.ledger = Ledger(session, table)
        self.write = self.ledger.insert
        self.fail = f"INSERT INTO {table} (run, missing) VALUES ('a', 1)"
        self.fail_once = self.write  # nobody can make a real node do that

    def row(self, number: int) -> Any:
        return self.ledger.row(number % KEYS)


class PausingInput:
    """Rows without end, which stop coming at a pause, until they are told to go on."""

    def __init__(self, work: Work, budget: Budget) -> None:
        self._work = work
        self._budget = budget
        self._go_on = threading.Event()
        self.midst = self.pause = -1
        """After how many statements the latest sample is due in the midst, and at rest."""
        self.pauses = 0

    def __iter__(self) -> Iterator[Any]:
        for number in itertools.count(1):
            if number % STRETCH == 0:
                # Told before the row is given, so that whoever reads its result knows.
                if self.midst > self.pause:
                    self.pause = number
                    self._go_on.clear()
                elif self._budget.used(number) * SAMPLES >= self.pauses:
                    self.midst = number
            yield self._work.row(number)
            if number == self.pause:
                self._go_on.wait()

    def go_on(self) -> None:
        """End the pause."""
        self.pauses += 1
        self._go_on.set()


def one_stream(executor: Executor[Any], work: Work, budget: Budget, samples: Samples) -> int:
    """Read one run for as long as there is budget; return how many statements that were."""
    rows = PausingInput(work, budget)
    done = 0
    with executor.map(work.write, rows, buffersize=BUFFERSIZE) as results:
        for _ in results:
            done += 1
            if done == rows.midst:
                samples.in_midst(done)
            elif done == rows.pause:
                del _
                samples.at_rest("pauses", done, feeders=1)
                if budget.used(done) >= 1 and rows.pauses >= FEWEST_SAMPLES:
                    break
                rows.go_on()
    rows.go_on()
    return done


def short_runs(executor: Executor[Any], work: Work) -> int:
    """Let runs of every kind come to their end, or not; return how many statements they had."""
    rows = [work.row(number) for number in range(SIZE)]
    options: dict[str, Any] = {"buffersize": BUFFERSIZE}
    fine = list(executor.map(work.write, iter(rows), **options))
    fine += executor.map(work.write, rows, **options).all()
    fine += executor.map(work.write, rows, **options).future().result()
    fine += [result for _, result in executor.map(work.write, rows, **options).as_completed()]
    assert all(result.success for result in fine)
    for future in [executor.submit(work.write, row) for row in rows]:
        future.result()
    done = len(fine) + SIZE

    some_fail = [
        (work.fail if n % 5 else work.write, None if n % 5 else rows[n]) for n in range(SIZE)
    ]
    told = executor.execute(some_fail, raise_on_first_error=False, **options).all()
    assert sum(result.success for result in told) == SIZE // 5
    with suppress(Exception):
        executor.execute(some_fail, **options).all()
    with suppress(Exception):
        for _ in executor.execute(iter(some_fail), **options):
            pass
    with suppress(Exception):
        executor.submit(work.fail).result()
    done += SIZE + 4

    for half_way in (
        executor.map(work.write, rows, **options),
        executor.map(work.write, iter(rows)),
    ):
        next(half_way)
        half_way.close()
    del half_way
    dropped = executor.map(work.write, iter(rows), **options)
    next(dropped)
    del dropped
    done += 3

    with suppress(ZeroDivisionError):
        for _ in executor.map(work.write, _raises(rows), **options):
            pass
    done += SIZE

    again = executor.map(work.fail_once, rows, retry=RETRY, assume_idempotent=True, **options)
    assert len(again.all()) == SIZE
    return done + SIZE


def _raises(rows: list[Any]) -> Iterator[Any]:
    yield from rows
    raise ZeroDivisionError


def dropped_executor(executor: Executor[Any], work: Work) -> int:
    """Use an executor that nobody shuts down."""
    return len(executor.map(work.write, [work.row(0)], retry=RETRY).all())


def rounds(
    make_executor: Callable[[], Executor[Any]], work: Work, budget: Budget, samples: Samples
) -> int:
    """Go round for as long as there is budget: with one executor for all, and one for each."""
    done = taken = 0
    with make_executor() as lasting:
        while True:
            done += short_runs(lasting, work)
            with make_executor() as passing:
                done += short_runs(passing, work)
            done += dropped_executor(make_executor(), work)
            used = budget.used(done)
            if used * SAMPLES >= taken:
                samples.at_rest("rounds", done)
                taken += 1
                if used >= 1 and taken >= FEWEST_SAMPLES:
                    return done


def main(name: str, kind: str, amount: str, table: str = "") -> None:
    """Do both halves, and then look for what only the collector could free."""
    if kind == "scripted":
        gc.disable()  # what is only a collector's to free shall be seen
        _soak(name, ScriptedWork(), lambda: Budget(statements=int(amount) // 2))
        return
    profile = ExecutionProfile(TokenAwarePolicy(DCAwareRoundRobinPolicy()), request_timeout=30.0)
    with connect(execution_profiles={EXEC_PROFILE_DEFAULT: profile}) as session:
        _soak(name, RealWork(session, table), lambda: Budget(seconds=float(amount) / 2))


def _soak(name: str, work: Work, budget: Callable[[], Budget]) -> None:
    def make_executor() -> Executor[Any]:
        return IN_ONE_PROCESS[name](work.session, concurrency=CONCURRENCY)

    threads.LINGER = 0.02  # so that they soon come to rest
    samples = Samples()
    started = time.monotonic()
    with make_executor() as executor:
        done = one_stream(executor, work, budget(), samples)
    del executor
    done += rounds(make_executor, work, budget(), samples)
    seconds = time.monotonic() - started
    if gc.isenabled():
        # The collector has been at work: only of the last few runs is it known what they leave.
        gc.collect()
        gc.disable()
        for _ in range(10):
            with make_executor() as executor:
                short_runs(executor, work)
        del executor
        samples.look_for_cycles()
    say(end=True, statements=done, seconds=seconds, in_cycles=samples.in_cycles)


if __name__ == "__main__":
    main(*sys.argv[1:])
