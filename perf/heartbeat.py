"""How long an event loop stands still while it runs very many statements.

One-row reads on the void server, as fast as they go. Beside them a task sleeps for a millisecond,
again and again: a stall is by how much longer than that it slept. The ways take turns, several
times over; of each the longest stall and the 99th percentile are shown, and what a statement cost.

A driver keeps each request until its timeout has passed, and only the collector then frees what is
in cycles, as after a gather over a semaphore. So each go begins when the requests of the one before
are gone: else it would have the stall of collecting them.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time
from typing import Any

import click
from cassandra.cluster import EXEC_PROFILE_DEFAULT

from concurrent_exec import CallbackExecutor, DirectExecutor
from concurrent_exec.aio import AsyncExecutor
from perf import options, results
from perf.servers import a_server, a_session
from perf.workloads import KINDS, Bound

CONCURRENCY = 100
BEAT = 0.001
"""Seconds."""
TIMEOUT = 2.0
"""Seconds of a statement, and how long a driver keeps one that was answered."""

Way = Callable[[Bound, int], Awaitable[None]]


@asynccontextmanager
async def beating() -> AsyncIterator[list[float]]:
    """Give the list to which a task adds the seconds of every stall, meanwhile."""
    stalls: list[float] = []

    async def beat() -> None:
        while True:
            start = perf_counter()
            await asyncio.sleep(BEAT)
            stalls.append(perf_counter() - start - BEAT)

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        yield stalls
        await asyncio.sleep(BEAT)  # the last one counts, too
    finally:
        task.cancel()


async def gather_over_a_semaphore(bound: Bound, count: int) -> None:
    """Start a task for each statement, as many write by hand."""
    session, loop = bound.session, asyncio.get_running_loop()
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(parameters: Any) -> Any:
        async with places:
            answer = loop.create_future()
            session.execute_async(bound.statement, parameters).add_callbacks(
                lambda rows: loop.call_soon_threadsafe(answer.set_result, rows),
                lambda error: loop.call_soon_threadsafe(answer.set_exception, error),
            )
            return await answer

    await asyncio.gather(*map(one, bound.parameters(count)))


def through(make: Callable[..., Any], *, stream: bool) -> Way:
    """Return the way through an executor of ours."""

    async def way(bound: Bound, count: int) -> None:
        async with AsyncExecutor(make(bound.session, concurrency=CONCURRENCY)) as executor:
            parameters = bound.parameters(count)
            read = executor.map(bound.statement, parameters if stream else list(parameters))
            if stream:
                async for _ in read:
                    pass
            else:
                await read

    return way


WAYS: dict[str, Way] = {
    "gather over a semaphore": gather_over_a_semaphore,
    "CallbackExecutor, await": through(CallbackExecutor, stream=False),
    "CallbackExecutor, async for": through(CallbackExecutor, stream=True),
    "DirectExecutor, await": through(DirectExecutor, stream=False),
    "DirectExecutor, async for": through(DirectExecutor, stream=True),
}


async def measure(way: Way, bound: Bound, count: int) -> dict[str, float]:
    """Return the milliseconds of its stalls, and the CPU microseconds a statement."""
    async with beating() as stalls:
        cpu, start = process_time(), perf_counter()
        await way(bound, count)
        cpu, seconds = process_time() - cpu, perf_counter() - start
    return {
        "longest_ms": max(stalls) * 1e3,
        "p99_ms": quantiles(stalls, n=100, method="inclusive")[-1] * 1e3
        if len(stalls) > 1
        else max(stalls) * 1e3,
        "cpu_us": cpu / count * 1e6,
        "rate": count / seconds,
    }


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--statements", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(folder: Path, quick: bool, statements: int, rounds: int) -> None:
    count, times = (min(statements, 500), 1) if quick else (statements, rounds)
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with a_server("void") as server, a_session(server) as session:
        session.get_execution_profile(EXEC_PROFILE_DEFAULT).request_timeout = TIMEOUT
        bound = Bound(session, KINDS["read 1"](20))
        for round_number in range(times + 1):
            for name, way in WAYS.items():
                time.sleep(0 if quick else TIMEOUT)
                gc.collect()
                figures = asyncio.run(measure(way, bound, count))
                if round_number:  # the first is the warm-up
                    taken[name].append(figures)
    rows = []
    for name, goes in taken.items():
        row = {key: results.spread([go[key] for go in goes]) for key in goes[0]}
        rows.append({"way": name, "statements": count, "rounds": times, **row})
        click.echo(
            f"  {name:30} longest stall {row['longest_ms'][0]:7.1f} ms, "
            f"p99 {row['p99_ms'][0]:6.1f} ms, {row['cpu_us'][0]:6.1f} us, {row['rate'][0]:8,.0f}/s"
        )
    click.echo(f"written: {results.save('heartbeat', rows, folder)}")


if __name__ == "__main__":
    main()
