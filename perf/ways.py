"""The ways to run many statements that are measured beside each other. Each is a line in `WAYS`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cassandra.concurrent as helper

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    CoalescingConnection,
    DirectExecutor,
    ThreadExecutor,
)
from concurrent_exec.comparing.measuring import Note, Play, TimedSession, limit_or_timing
from concurrent_exec.connect import ConnectionOptions, connect
from perf import peers
from perf.workloads import Bound

HELPER = "drivers' helper, list"
"""What all others are compared with."""
THREADS = 32
"""Of the ways that have a thread for each statement in flight, at most."""


@dataclass(frozen=True)
class Bench:
    """What a way is given: the server, the workload on a session of the driver, and a level.

    cleanups: what a way opens is closed by this, when all has been measured.
    """

    options: ConnectionOptions
    bound: Bound
    concurrency: int
    cleanups: ExitStack


Way = Callable[[Bench], Play]


def _session(bench: Bench, note: Note | None) -> Any:
    session = bench.bound.session
    return session if note is None else TimedSession(session, note)


def _failed(results: Iterable[Any]) -> int:
    return sum(not success for success, _ in results)


def _helper(bench: Bench, *, stream: bool) -> Play:
    """`cassandra.concurrent`, as either driver has it."""

    def play(count: int, note: Note | None) -> int:
        shape = list if not stream else iter
        options = {"raise_on_first_error": False, "results_generator": stream}
        session, bound = _session(bench, note), bench.bound
        if bound.statement is None:
            return _failed(
                helper.execute_concurrent(
                    session, shape(bound.pairs(count)), bench.concurrency, **options
                )
            )
        return _failed(
            helper.execute_concurrent_with_args(
                session,
                bound.statement,
                shape(bound.parameters(count)),
                bench.concurrency,
                **options,
            )
        )

    return play


def _chain(bench: Bench, *, break_cycle: bool) -> Play:
    """Each answer sends the next: no order, no results, no errors, no bounds.

    break_cycle: whether a future lets go of its timer when it is answered, which refers back to
        it: the pair is garbage that only the collector can free.
    """

    def play(count: int, note: Note | None) -> int:
        session = _session(bench, note)
        pairs = bench.bound.pairs(count)
        lock = threading.Lock()
        done = threading.Event()
        left, failed = count, 0

        def send_next() -> None:
            with lock:
                pair = next(pairs, None)
            if pair is not None:
                future = session.execute_async(*pair)
                future.add_callbacks(
                    succeeded, broke, callback_args=(future,), errback_args=(future,)
                )

        def succeeded(rows: object, future: Any) -> None:
            nonlocal left
            future.clear_callbacks()
            if break_cycle:
                future._timer = None
            with lock:
                left -= 1
                last = not left
            if last:
                done.set()
            send_next()

        def broke(error: object, future: Any) -> None:
            nonlocal failed
            failed += 1
            succeeded(None, future)

        for _ in range(min(bench.concurrency, count)):
            send_next()
        done.wait()
        return failed

    return play


def _thread_pool(bench: Bench) -> Play:
    """`ThreadPoolExecutor.map(session.execute)`, which many write by hand."""

    def play(count: int, note: Note | None) -> int:
        execute = _session(bench, note).execute
        with ThreadPoolExecutor(min(bench.concurrency, THREADS)) as pool:
            for _ in pool.map(lambda pair: execute(*pair), bench.bound.pairs(count)):
                pass
        return 0

    return play


def _executor(
    bench: Bench, *, make: Callable[..., Any], stream: bool, most: int, times: int
) -> Play:
    """An executor of ours, at the bench's concurrency, `times` that, and `most` at most."""

    def play(count: int, note: Note | None) -> int:
        limit = limit_or_timing(min(bench.concurrency * times, most), note)
        bound = bench.bound
        with make(bound.session, concurrency=limit) as executor:
            if bound.statement is None:
                pairs = bound.pairs(count)
                results = executor.execute(
                    pairs if stream else list(pairs), raise_on_first_error=False
                )
            else:
                parameters = bound.parameters(count)
                results = executor.map(
                    bound.statement,
                    parameters if stream else list(parameters),
                    raise_on_first_error=False,
                )
            return _failed(results if stream else results.all())

    return play


def _coalescing(bench: Bench, *, way: Way) -> Play:
    """A way on a session of its own, whose connections join what they send."""
    session = bench.cleanups.enter_context(
        connect(bench.options, compression=False, connection_class=CoalescingConnection)
    )
    return way(replace(bench, bound=Bound(session, bench.bound.workload)))


def _both(
    name: str, make: Callable[..., Any], *, most: int = 10_000, times: int = 1
) -> dict[str, Way]:
    way = partial(_executor, make=make, most=most, times=times)
    return {
        f"{name}, list": partial(way, stream=False),
        f"{name}, stream": partial(way, stream=True),
    }


_OURS: dict[str, Way] = {
    **_both("CallbackExecutor", CallbackExecutor),
    **_both("ThreadExecutor", ThreadExecutor, most=THREADS),
    **_both("DirectExecutor", DirectExecutor),
    **_both("BatchExecutor, partition_key", BatchExecutor, times=10),
    **_both(
        "BatchExecutor, replica_set",
        partial(BatchExecutor, batch_mode="replica_set"),
        times=10,
    ),
}

WAYS: dict[str, Way] = {
    HELPER: partial(_helper, stream=False),
    "drivers' helper, generator": partial(_helper, stream=True),
    "bare chain": partial(_chain, break_cycle=False),
    "bare chain, cycle broken": partial(_chain, break_cycle=True),
    "ThreadPoolExecutor.map": _thread_pool,
    **_OURS,
    **{
        f"{name}, coalescing": partial(_coalescing, way=_OURS[f"{name}, list"])
        for name in ("CallbackExecutor", "DirectExecutor")
    },
    "acsylla by hand": partial(peers.way, peer=peers.Acsylla),
    "scylladb-rs-driver by hand": partial(peers.way, peer=peers.RustDriver),
}
