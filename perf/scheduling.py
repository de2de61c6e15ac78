"""What a portion of a bulk run costs where Dask hands it out: scheduler, client and worker.

Tasks that do nothing, each bound to a worker as `executors.dask_pool` binds them, with data of a
portion's size there and a settlement's back. A scheduler and workers of one thread each are started
for it. CPU is that of the processes (Linux).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from concurrent_exec.comparing.measuring import Spread
from concurrent_exec.executors.dask_pool import Crew
from concurrent_exec.executors.lanes import Lanes
from perf import options, results

SIZES = (0, 100_000, 1_000_000)
"""Bytes that travel with a task."""
ANSWER = 200
"""Bytes that come back: a settlement without failures and rows has about so many."""
WORKERS = 2
_BACK = b"x" * ANSWER


def answer(data: bytes) -> bytes:
    """Do nothing."""
    return _BACK


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _cluster() -> Iterator[tuple[Any, dict[str, list[int]]]]:
    """Give a client, and the processes by what they are."""
    from distributed import Client

    with ExitStack() as cleanups:
        folder = cleanups.enter_context(tempfile.TemporaryDirectory())
        log = cleanups.enter_context(Path(folder, "log").open("w"))

        def start(*arguments: str) -> int:
            command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            cleanups.callback(process.wait)
            cleanups.callback(process.kill)
            return process.pid

        file = str(Path(folder, "scheduler.json"))
        local = ("--host", "127.0.0.1")
        scheduler = start("scheduler", *local, "--port", "0", "--scheduler-file", file)
        client: Any = cleanups.enter_context(Client(scheduler_file=file, timeout=60))
        one_thread = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0")
        workers = [
            start("worker", client.scheduler.address, *local, *one_thread) for _ in range(WORKERS)
        ]
        client.wait_for_workers(WORKERS, timeout=60)
        yield client, {"scheduler": [scheduler], "client": [os.getpid()], "workers": workers}


def measure(tasks: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each size."""
    with _cluster() as (client, processes):
        pool = Lanes(WORKERS, Crew(client).take)
        for size in SIZES:
            data = os.urandom(size)
            goes: list[dict[str, float]] = []
            for turn in range(-1, rounds):
                before = {what: sum(map(_seconds, pids)) for what, pids in processes.items()}
                start = perf_counter()
                for _ in range(tasks // (2 * WORKERS)):
                    # As a bulk run has them: two for each worker at a time.
                    futures = [pool.submit(answer, data) for _ in range(2 * WORKERS)]
                    assert all(future.result() == _BACK for future in futures)
                go = {"seconds_ms": (perf_counter() - start) / tasks * 1e3}
                for what, pids in processes.items():
                    go[f"{what}_ms"] = (sum(map(_seconds, pids)) - before[what]) / tasks * 1e3
                if turn >= 0:
                    goes.append(go)
            row: dict[str, Any] = {"bytes": size, "tasks": tasks}
            for figure in goes[0]:
                spread = Spread.of(go[figure] for go in goes)
                row[figure] = [spread.median, spread.low, spread.high]
            click.echo(
                f"{size:9,} bytes: scheduler {row['scheduler_ms'][0]:.2f} ms, client "
                f"{row['client_ms'][0]:.2f} ms, worker {row['workers_ms'][0]:.2f} ms of CPU; "
                f"{row['seconds_ms'][0]:.2f} ms"
            )
            yield row


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--tasks", type=click.IntRange(min=4), default=400, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(folder: Path, quick: bool, tasks: int, rounds: int) -> None:
    rows = list(measure(8 if quick else tasks, 1 if quick else rounds))
    click.echo(f"written: {results.save('scheduling', rows, folder)}")


if __name__ == "__main__":
    main()
