"""Every way beside the others, by server, workload and concurrency: CPU, rate, latencies, memory.

Two tables are measured for each server: all ways on all workloads at one concurrency, and the
ways at all levels of concurrency on one-row writes and reads. All ways of one line of these go in
turn, several times over, so that their ratios hold though the machine gets faster or slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from concurrent_exec.comparing.measuring import Note, Play, play_in_turn
from perf import options, results
from perf.servers import SERVERS, Server, a_server, a_session
from perf.ways import HELPER, WAYS, Bench
from perf.workloads import KINDS, Bound, Workload

CONCURRENCY = 100
LEVELS = (1, 10, 100, 500, 2000)
SIZES = (20, 2000)
STREAMS = "stream", "generator"
"""Ways that are left out where only the concurrency changes: they go as their lists do."""


@dataclass(frozen=True)
class Line:
    """What is measured of all ways in turn.

    timed: whether latencies are taken.
    times: how many more statements than of other lines.
    """

    workload: Workload
    concurrency: int = CONCURRENCY
    timed: bool = False
    times: float = 1.0


def lines(quick: bool) -> Iterator[Line]:
    """Yield what is measured on each server."""
    for size in SIZES[:1] if quick else SIZES:
        for name in ("write", "read 1", "read 100") if quick else KINDS:
            if size == SIZES[0] or name != "write 50":
                yield Line(KINDS[name](size))
    for name in ("write",) if quick else ("write", "read 1"):
        for level in LEVELS[1:2] if quick else LEVELS:
            # At level 1 each waits for its answer: fewer do.
            yield Line(KINDS[name](SIZES[0]), level, timed=True, times=0.25 if level == 1 else 1)


def measure(
    server: Server, session: Any, line: Line, statements: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way."""
    workload = line.workload
    name = f"{workload.name}, {workload.value_bytes} bytes, concurrency {line.concurrency}"
    click.echo(f"{results.driver()}, {server.name}: {name}")
    with ExitStack() as cleanups:
        bench = Bench(server.options, Bound(session, workload), line.concurrency, cleanups)
        busy: dict[str, float] = {}
        ways = {
            way: _watched(make(bench), way, server, busy)
            for way, make in WAYS.items()
            if not (line.timed and any(short in way for short in STREAMS))
        }
        goes = play_in_turn(
            ways,
            statements=max(10, int(statements * line.times / workload.cost)),
            rounds=rounds,
            timed=line.timed,
        )
    for way, taken in goes.items():
        row = {
            "server": server.name,
            "workload": workload.name,
            "value_bytes": workload.value_bytes,
            "concurrency": line.concurrency,
            "timed": line.timed,
            "way": way,
            **results.figures(taken, goes[HELPER]),
        }
        if way in busy:
            row["server_busy"] = round(busy[way], 2)
        click.echo(
            f"  {way:38} {row['cpu_us'][0]:8.1f} us {row['cpu_ratio'][0]:6.2f} "
            f"{row['rate'][0]:9,.0f}/s {row['failed'] or ''}"
        )
        yield row


def _watched(play: Play, way: str, server: Server, busy: dict[str, float]) -> Play:
    """Note the share of one core that the server takes meanwhile: at 1 it would set the pace."""
    cpu_seconds = server.cpu_seconds
    if cpu_seconds is None:
        return play

    def watched(count: int, note: Note | None) -> int:
        cpu, start = cpu_seconds(), perf_counter()
        failed = play(count, note)
        busy[way] = max(
            busy.get(way, 0.0), (cpu_seconds() - cpu) / max(perf_counter() - start, 0.1)
        )
        return failed

    return watched


def script(
    name: str, told: str | None, lines: Callable[[bool], Iterable[Line]], statements: int
) -> click.Command:
    """Return the command that measures on each server what `lines` says, quick or not.

    name: of what it saves.
    told: what it says of itself.
    statements: of a go, unless it is told otherwise.
    """

    @click.command(help=told, context_settings={"help_option_names": ["-h", "--help"]})
    @options.common
    @click.option("--contact-points", metavar="HOST[:PORT],...", help="A cluster of your own.")
    @click.option("--server", "names", type=click.Choice(SERVERS), multiple=True, default=SERVERS)
    @click.option(
        "--statements",
        type=click.IntRange(min=1),
        default=statements,
        show_default=True,
        help="One-row writes a go; of what is dearer fewer.",
    )
    @click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
    def main(
        folder: Path,
        quick: bool,
        contact_points: str | None,
        names: Sequence[str],
        statements: int,
        rounds: int,
    ) -> None:
        rows: list[dict[str, Any]] = []
        for server_name in names:
            with a_server(server_name, contact_points) as server, a_session(server) as session:
                for line in lines(quick):
                    rows.extend(measure(server, session, line, statements, rounds))
                    # After each line, so that a run that is cut short leaves what it has.
                    file = results.save(name, rows, folder)
        click.echo(f"written: {file}")

    return main


main = script("strategies", __doc__, lines, statements=2000)

if __name__ == "__main__":
    main()
