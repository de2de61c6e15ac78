"""What a statement costs by worker processes: in the parent, in the workers, in all.

One-row writes and reads on the void server, which answers at once or after a set delay. The ways
of one line go in turn, several times over, so that their ratios hold though the machine gets
faster or slower. The server shares the machine's cores with all of them: the rate says little where
these are few, the CPU a statement says what one more core would bring.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import click

from concurrent_exec import CallbackExecutor, DirectExecutor, Executor, ProcessExecutor
from concurrent_exec.comparing.measuring import Spread
from concurrent_exec.connect import connect
from perf import options, results
from perf.servers import Server, a_session
from perf.void_server import VoidServer
from perf.workloads import KINDS, Bound, Workload

DELAYS = (0.0, 0.005)
"""Seconds that the server holds back each answer."""
IN_PROCESS: dict[str, Callable[..., Executor[Any]]] = {
    "CallbackExecutor": CallbackExecutor,
    "DirectExecutor": DirectExecutor,
}
PROCESSES = (1, 2)
BESIDE = "DirectExecutor"
"""What all others are compared with."""


def ways(server: Server, session: Any, cleanups: ExitStack) -> dict[str, Executor[Any]]:
    """Return all executors by their names; their processes live until the end."""
    made = {name: make(session, concurrency=1000) for name, make in IN_PROCESS.items()}
    there = partial(connect, server.options, compression=False)
    for count in PROCESSES:
        made[f"ProcessExecutor, {count}"] = ProcessExecutor(there, processes=count)
    for executor in made.values():
        cleanups.enter_context(executor)
    return made


def measure(
    server: Server, session: Any, workload: Workload, statements: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way."""
    click.echo(f"{results.driver()}, {server.name}: {workload.name}, {workload.value_bytes} bytes")
    goes: dict[str, list[dict[str, float]]] = {}
    lots = random.Random(0)  # the same order every time: a run can be repeated
    with ExitStack() as cleanups:
        bound = Bound(session, workload)
        made = ways(server, session, cleanups)
        for turn in range(-1, rounds):
            for name in lots.sample(list(made), len(made)):
                go = _go(made[name], bound, statements)
                if turn >= 0:
                    goes.setdefault(name, []).append(go)
    for name in made:
        taken = goes[name]
        row: dict[str, Any] = {"server": server.name, "workload": workload.name, "way": name}
        for figure in taken[0]:
            spread = Spread.of(each[figure] for each in taken)
            row[figure] = [spread.median, spread.low, spread.high]
        ratios = Spread.of(
            mine["all_us"] / other["all_us"]
            for mine, other in zip(taken, goes[BESIDE], strict=True)
        )
        row["ratio"] = [ratios.median, ratios.low, ratios.high]
        click.echo(
            f"  {name:20} parent {row['parent_us'][0]:6.1f} us  workers {row['workers_us'][0]:6.1f}"
            f" us  all {row['all_us'][0]:6.1f} us, {ratios.median:5.2f}  {row['rate'][0]:9,.0f}/s"
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
def main(folder: Path, quick: bool, statements: int | None, rounds: int) -> None:
    statements = statements or (5_000 if quick else 50_000)
    rows: list[dict[str, Any]] = []
    for delay in DELAYS[:1] if quick else DELAYS:
        with VoidServer(delay=delay) as void:
            name = f"void, {delay * 1000:g} ms" if delay else "void"
            server = Server(name, void.options(), void.cpu_seconds)
            with a_session(server) as session:
                for kind in ("write",) if quick else ("write", "read 1"):
                    rows += measure(server, session, KINDS[kind](20), statements, rounds)
    file = results.save("processes", rows, folder)
    click.echo(f"written: {file}")


if __name__ == "__main__":
    main()
