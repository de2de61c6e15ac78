"""What a statement costs by worker processes: in the parent, in the workers, in all.

One-row writes and reads on the void server, which answers at once or after a set delay, and on
Cassandra; and the records of a bulk run. The ways of one line go in turn, several times over, so
that their ratios hold though the machine gets faster or slower. The server shares the machine's
cores with all of them: the rate says little where these are few, the CPU a statement says what one
more core would bring. "slow" is a server so slow that cores are not what limits: each process has
so many in flight as one alone, and the rate should rise with them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import click

from concurrent_exec import CallbackExecutor, DirectExecutor, Executor, ProcessExecutor, bulk
from concurrent_exec.bulk import Workers
from concurrent_exec.comparing.measuring import Spread
from concurrent_exec.connect import connect
from perf import options, results
from perf.servers import Server, a_server, a_session
from perf.void_server import VoidServer
from perf.workloads import KINDS, Bound, Workload

DELAYS = (0.0, 0.005)
"""Seconds that the server holds back each answer."""
IN_PROCESS: dict[str, Callable[..., Executor[Any]]] = {
    "CallbackExecutor": CallbackExecutor,
    "DirectExecutor": DirectExecutor,
}
PROCESSES = (1, 2, 4)
SLOW = 0.05
"""Seconds after which the slow server answers."""
IN_FLIGHT = 50
"""Statements that each process has in flight there."""
Go = tuple[float, float, float]
"""Seconds of processor time here and in other processes, and how long it took."""
BESIDE = "DirectExecutor"
"""What all others are compared with."""


def ways(
    server: Server, session: Any, counts: Sequence[int], cleanups: ExitStack
) -> dict[str, Executor[Any]]:
    """Return all executors by their names; their processes live until the end."""
    made = {name: make(session, concurrency=1000) for name, make in IN_PROCESS.items()}
    there = partial(connect, server.options, compression=False)
    for count in counts:
        made[f"ProcessExecutor, {count}"] = ProcessExecutor(there, processes=count)
    for executor in made.values():
        cleanups.enter_context(executor)
    return made


def bulk_ways(
    server: Server, session: Any, counts: Sequence[int], bound: Bound
) -> dict[str, Callable[[int], Go]]:
    """Return what runs so many records, in one process and by others, by their names."""
    there = partial(connect, server.options, compression=False)

    def go(workers: Workers | None, count: int) -> Go:
        before, start = _all_seconds(), perf_counter()
        records = bound.parameters(count)
        report = bulk.run(session, bound.statement, records, retry=None, workers=workers)
        if not report.all_done:
            raise click.ClickException(f"{count - report.succeeded} of {count} records failed")
        seconds = perf_counter() - start
        own, others = (now - then for now, then in zip(_all_seconds(), before, strict=True))
        return own, others, seconds

    made: dict[str, Callable[[int], Go]] = {"bulk.run": partial(go, None)}
    for count in counts:
        made[f"bulk.run, {count}"] = partial(go, Workers(there, processes=count))
    return made


def _all_seconds() -> tuple[float, float]:
    """Return the processor time of this process, and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time(), ended.ru_utime + ended.ru_stime


def measure_bulk(
    server: Server,
    session: Any,
    workload: Workload,
    records: int,
    rounds: int,
    counts: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way to run records, without what a start takes."""
    click.echo(f"{results.driver()}, {server.name}: records of {workload.name}")
    few = max(1, records // 10)
    made = bulk_ways(server, session, counts, Bound(session, workload))
    goes: dict[str, list[dict[str, float]]] = {name: [] for name in made}
    lots = random.Random(0)
    for turn in range(-1, rounds):
        for name in lots.sample(list(made), len(made)):
            started, whole = made[name](few), made[name](few + records)
            own, others, seconds = (b - a for a, b in zip(started, whole, strict=True))
            if turn >= 0:
                figures = {"parent_us": own, "workers_us": others, "all_us": own + others}
                go = {figure: taken / records * 1e6 for figure, taken in figures.items()}
                goes[name].append({**go, "rate": records / max(seconds, 1e-9)})
    yield from _rows(server, workload, goes, "bulk.run")


def measure_slow(records: int, rounds: int, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of processes on a slow server."""
    with VoidServer(delay=SLOW) as void:
        server = Server("slow", void.options(), void.cpu_seconds)
        there = partial(connect, server.options, compression=False)
        with a_session(server) as session, ExitStack() as cleanups:
            workload = KINDS["write"](20)
            bound = Bound(session, workload)
            made = {
                f"ProcessExecutor, {count}": cleanups.enter_context(
                    ProcessExecutor(there, processes=count, concurrency=IN_FLIGHT * count)
                )
                for count in counts
            }
            goes: dict[str, list[dict[str, float]]] = {name: [] for name in made}
            for turn in range(-1, rounds):
                for count, (name, executor) in zip(counts, made.items(), strict=True):
                    go = _go(executor, bound, records * count)
                    if turn >= 0:
                        goes[name].append(go)
            yield from _rows(server, workload, goes, "ProcessExecutor, 1")


def measure(
    server: Server,
    session: Any,
    workload: Workload,
    statements: int,
    rounds: int,
    counts: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way."""
    click.echo(f"{results.driver()}, {server.name}: {workload.name}, {workload.value_bytes} bytes")
    lots = random.Random(0)  # the same order every time: a run can be repeated
    with ExitStack() as cleanups:
        bound = Bound(session, workload)
        made = ways(server, session, counts, cleanups)
        goes: dict[str, list[dict[str, float]]] = {name: [] for name in made}
        for turn in range(-1, rounds):
            for name in lots.sample(list(made), len(made)):
                go = _go(made[name], bound, statements)
                if turn >= 0:
                    goes[name].append(go)
    yield from _rows(server, workload, goes, BESIDE)


def _rows(
    server: Server, workload: Workload, goes: dict[str, list[dict[str, float]]], beside: str
) -> Iterator[dict[str, Any]]:
    for name, taken in goes.items():
        row: dict[str, Any] = {"server": server.name, "workload": workload.name, "way": name}
        for figure in taken[0]:
            spread = Spread.of(each[figure] for each in taken)
            row[figure] = [spread.median, spread.low, spread.high]
        for figure, key in (("ratio", "all_us"), ("rate_ratio", "rate")):
            pairs = zip(taken, goes[beside], strict=True)
            ratios = Spread.of(mine[key] / max(other[key], 1e-9) for mine, other in pairs)
            row[figure] = [ratios.median, ratios.low, ratios.high]
        click.echo(
            f"  {name:20} parent {row['parent_us'][0]:6.1f} us  workers {row['workers_us'][0]:6.1f}"
            f" us  all {row['all_us'][0]:6.1f} us, {row['ratio'][0]:5.2f}"
            f"  {row['rate'][0]:9,.0f}/s, {row['rate_ratio'][0]:5.2f}"
        )
        yield row


def _go(executor: Executor[Any], bound: Bound, statements: int) -> dict[str, float]:
    parameters = list(bound.parameters(statements))
    workers, cpu, start = _workers_seconds(), process_time(), perf_counter()
    failed = sum(not success for success, _ in executor.map(bound.statement, parameters))
    seconds, cpu = perf_counter() - start, process_time() - cpu
    workers = _workers_seconds() - workers
    if failed:
        raise click.ClickException(f"{failed} of {statements} statements failed")
    return {
        "parent_us": cpu / statements * 1e6,
        "workers_us": workers / statements * 1e6,
        "all_us": (cpu + workers) / statements * 1e6,
        "rate": statements / seconds,
    }


def _workers_seconds() -> float:
    """Return the processor time of all living children so far (Linux); those of no run idle."""
    seconds = 0.0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--statements", type=click.IntRange(min=1), help="[default: 50,000; quick: 5,000]")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--cassandra/--no-cassandra", default=True, help="Not if quick.")
def main(folder: Path, quick: bool, statements: int | None, rounds: int, cassandra: bool) -> None:
    statements = statements or (5_000 if quick else 50_000)
    counts = PROCESSES[:1] if quick else PROCESSES
    write, rows = KINDS["write"](20), list[dict[str, Any]]()
    for delay in DELAYS[:1] if quick else DELAYS:
        with VoidServer(delay=delay) as void:
            name = f"void, {delay * 1000:g} ms" if delay else "void"
            server = Server(name, void.options(), void.cpu_seconds)
            with a_session(server) as session:
                for kind in ("write",) if quick else ("write", "read 1"):
                    rows += measure(server, session, KINDS[kind](20), statements, rounds, counts)
                if not delay:
                    rows += measure_bulk(server, session, write, statements, rounds, counts)
    rows += measure_slow(200 if quick else 5_000, rounds, counts)
    if cassandra and not quick:
        with a_server("cassandra") as server, a_session(server) as session:
            rows += measure(server, session, write, statements, rounds, counts)
            rows += measure_bulk(server, session, write, statements, rounds, counts)
    file = results.save("processes", rows, folder)
    click.echo(f"written: {file}")


if __name__ == "__main__":
    main()
