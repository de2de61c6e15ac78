"""Where the microseconds of a statement go: samples of the stacks, counted by whose code it was.

py-spy takes them, of native code too, of a process that runs one way on the void server. A sample
is put down to the innermost of these that is on its stack: the garbage collector, the system's
calls on sockets, a room of ours, the driver, other code. So what the driver calls of Python's own
is the driver's, and what it collects is the collector's.

It needs the right to look into a child process (ptrace), as Linux gives it by default.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from perf import options, results
from perf.servers import a_server, a_session
from perf.ways import HELPER, WAYS, Bench
from perf.workloads import KINDS, Bound

CONCURRENCY = 100
RATE = 200
"""Samples a second: more would hold up what they are taken of."""
PROFILED = (
    (HELPER, "write"),
    ("bare chain, cycle broken", "write"),
    ("CallbackExecutor, list", "write"),
    ("CallbackExecutor, stream", "write"),
    ("ThreadExecutor, list", "write"),
    (HELPER, "read 1"),
    ("CallbackExecutor, list", "read 1"),
)
QUICK = PROFILED[2:3]

WAITING = "waiting"
# Whose code a frame is, by its function or its file; a stack is looked through from within.
_OWNERS = (
    ("garbage collection", re.compile(r"^gc_collect")),
    (WAITING, re.compile(r"^(PyThread_acquire_lock_timed|select|epoll_wait|take_gil)\b")),
    ("sockets", re.compile(r"^(sock_send|sock_recv|send|recv|__send|__recv)\b")),
    ("ours: \\1", re.compile(r"\(concurrent_exec/(\w+?)(?:\.py\b|/)")),
    ("driver", re.compile(r"\(cassandra/|libev")),
    ("script", re.compile(r"\(perf/")),
)
OTHER = "other"
# Starting and ending the process is left out: what counts is below a way's own call, or a thread.
_COUNTED = re.compile(r"\bplay \(perf/|Thread\._bootstrap")
_PRINTED = re.compile(r"^([\d.]+) us a statement$", re.MULTILINE)


def owner(stack: str) -> str:
    """Return whose a stack is, as py-spy writes it: frames from without, parted by semicolons."""
    for frame in reversed(stack.split(";")):
        for name, pattern in _OWNERS:
            found = pattern.search(frame)
            if found:
                return found.expand(name)
    return OTHER


def count_samples(raw: str) -> Counter[str]:
    """Return the samples of each owner, from what py-spy has written in its format "raw"."""
    counted: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        if _COUNTED.search(stack):
            counted[owner(stack)] += int(samples)
    return counted


def profile(way: str, workload: str, count: int) -> dict[str, Any]:
    """Run it in a process of its own under py-spy; return the share of each owner."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--native"]
        command += ["--format", "raw", "--rate", str(RATE), "--output", str(raw), "--"]
        command += [sys.executable, "-m", "perf.hotspots", "--case", way, workload]
        command += ["--statements", str(count)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not raw.is_file():
            raise click.ClickException(f"py-spy failed: {done.stderr.strip()[-500:]}")
        samples = count_samples(raw.read_text(encoding="utf-8"))
    printed = _PRINTED.search(done.stdout)
    if printed is None:
        raise click.ClickException(f"{way} failed: {done.stderr.strip()[-500:]}")
    waiting = samples.pop(WAITING, 0)
    total = sum(samples.values()) or 1
    shares = {name: round(count / total, 4) for name, count in samples.most_common()}
    return {
        "way": way,
        "workload": workload,
        "statements": count,
        "cpu_us": float(printed[1]),
        "samples": total,
        "waiting_samples": waiting,
        "shares": shares,
    }


def run_case(way: str, workload: str, count: int) -> None:
    """Run it in this process, and print the CPU microseconds a statement."""
    with a_server("void") as server, a_session(server) as session, ExitStack() as cleanups:
        bound = Bound(session, KINDS[workload](20))
        play = WAYS[way](Bench(server.options, bound, CONCURRENCY, cleanups))
        cpu = time.process_time()
        play(count, None)
        click.echo(f"{(time.process_time() - cpu) / count * 1e6:.1f} us a statement")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--statements", type=click.IntRange(min=1), help="[default: 60,000; quick: 5,000]")
@click.option("--case", type=(str, str), hidden=True)
def main(folder: Path, quick: bool, statements: int | None, case: tuple[str, str] | None) -> None:
    count = statements or (5_000 if quick else 60_000)
    if case:
        run_case(*case, count)
        return
    rows = []
    for way, workload in QUICK if quick else PROFILED:
        row = profile(way, workload, count // (1 if workload == "write" else 3) or 1)
        click.echo(f"{way}, {workload}: {row['cpu_us']} us a statement while watched")
        for name, share in row["shares"].items():
            click.echo(f"  {name:24} {share:6.1%}")
        rows.append(row)
    click.echo(f"written: {results.save('hotspots', rows, folder)}")


if __name__ == "__main__":
    main()
