"""What a million statements take: as a list, as a stream, and as a stream whose reader stops.

Each case is a process of its own against the void server, so that its peak is its own. The reader
that stops reads one result, waits until the way has stopped working too, and reads the rest then:
a way that is bounded by what is read has sent a window of statements by then, another has sent
them all and holds every result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cassandra.concurrent as helper
import click

from concurrent_exec import CallbackExecutor
from concurrent_exec.comparing.memory import PeakMemory
from perf import options, results
from perf.servers import a_server, a_session
from perf.workloads import Bound, write

CONCURRENCY = 100
MIB = 2**20
STILL = 0.02
"""Share of one core below which a process counts as having stopped working."""

Results = Iterator[Any]


def helper_list(bound: Bound, count: int) -> Results:
    return iter(
        helper.execute_concurrent_with_args(
            bound.session, bound.statement, list(bound.parameters(count)), CONCURRENCY
        )
    )


def helper_stream(bound: Bound, count: int) -> Results:
    results: Results = helper.execute_concurrent_with_args(
        bound.session,
        bound.statement,
        bound.parameters(count),
        CONCURRENCY,
        results_generator=True,
    )
    return results


def _as_list(make: Callable[..., Any]) -> Callable[[Bound, int], Results]:
    def run(bound: Bound, count: int) -> Results:
        with make(bound.session, concurrency=CONCURRENCY) as executor:
            return iter(executor.map(bound.statement, list(bound.parameters(count))).all())

    return run


def _as_stream(make: Callable[..., Any]) -> Callable[[Bound, int], Results]:
    def run(bound: Bound, count: int) -> Results:
        with make(bound.session, concurrency=CONCURRENCY) as executor:
            yield from executor.map(bound.statement, bound.parameters(count))

    return run


WAYS: dict[str, Callable[[Bound, int], Results]] = {
    "drivers' helper, list": helper_list,
    "drivers' helper, generator": helper_stream,
    "CallbackExecutor, list": _as_list(CallbackExecutor),
    "CallbackExecutor, stream": _as_stream(CallbackExecutor),
}
# Of the helper's generator only the reader that stops: one that does not sees no more.
CASES = (
    ("drivers' helper, list", False),
    ("drivers' helper, generator", True),
    ("CallbackExecutor, list", False),
    ("CallbackExecutor, stream", False),
    ("CallbackExecutor, stream", True),
)
"""Way, and whether its reader stops."""


def run_case(way: str, stops: bool, count: int) -> dict[str, Any]:
    """Run it in this process, which has done nothing else; return its figures."""
    with a_server("void") as server, a_session(server) as session:
        bound = Bound(session, write(20))
        before = PeakMemory().bytes()
        peak = PeakMemory()
        cpu, start = time.process_time(), time.perf_counter()
        read, failure, failed_at = 0, "", None
        try:
            for _ in WAYS[way](bound, count):
                read += 1
                if stops and read == 1:
                    _wait_until_still()
        except Exception as error:
            failure = type(error).__name__
            failed_at = getattr(getattr(error, "failure", None), "index", None)
        return {
            "way": way,
            "reader": "stops" if stops else "prompt",
            "statements": count,
            "read": read,
            "failure": failure,
            "failed_at": failed_at,  # which statement, where that is said
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_us": round((time.process_time() - cpu) / count * 1e6, 1),
            "peak_mib": round(peak.bytes() / MIB, 1),
            "grown_mib": round((peak.bytes() - before) / MIB, 1),
        }


def _wait_until_still() -> None:
    while True:
        cpu = time.process_time()
        time.sleep(1)
        if time.process_time() - cpu < STILL:
            return


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option(
    "--statements", type=click.IntRange(min=1), help="[default: 1,000,000; quick: 50,000]"
)
@click.option("--case", type=(click.Choice(list(WAYS)), bool), hidden=True)
def main(
    folder: Path,
    quick: bool,
    statements: int | None,
    case: tuple[str, bool] | None,
) -> None:
    count = statements or (50_000 if quick else 1_000_000)
    if case:
        click.echo(json.dumps(run_case(*case, count)))
        return
    rows = []
    for way, stops in CASES:
        command = [sys.executable, "-m", "perf.memory", "--case", way, str(stops)]
        command += ["--statements", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise click.ClickException(f"{way} ended with {done.returncode}")
        row = json.loads(done.stdout)
        click.echo(
            f"{way + (', reader stops' if stops else ''):42} {row['peak_mib']:8,.0f} MiB "
            f"{row['seconds']:7.0f} s {row['cpu_us']:7.1f} us {row['failure']}"
        )
        rows.append(row)
    click.echo(f"written: {results.save('memory', rows, folder)}")


if __name__ == "__main__":
    main()
