"""How the cost of a statement grows with the number of statements, of columns and of rows.

Inserts on the void server, and for the rows, which come in one page, selects. What costs the same
per statement at 1,000 and at 1,000,000 has no part that grows with the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from concurrent_exec.comparing.measuring import play_in_turn
from perf import options, results
from perf.servers import Server, a_server, a_session
from perf.ways import HELPER, WAYS, Bench
from perf.workloads import Bound, Workload, read_many, write

CONCURRENCY = 100
MILLION = 1_000_000
COUNTS = (1_000, 10_000, 100_000, MILLION)
COLUMNS = (2, 5, 10, 20, 50)
ROWS = (1, 10, 100, 1_000)
GROWING = (
    HELPER,
    "bare chain, cycle broken",
    "CallbackExecutor, list",
    "CallbackExecutor, stream",
    "DirectExecutor, list",
    "DirectExecutor, stream",
)
GROWN = GROWING[2:]
"""What goes to a million; `memory` has what becomes of the helper there."""


def measure(
    server: Server,
    session: Any,
    over: str,
    workload: Workload,
    number: int,
    count: int,
    rounds: int,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way.

    over: what the line is a point of, "statements", "columns" or "rows"; `number` of these.
    """
    click.echo(f"{results.driver()}: {count:,} times {workload.name}, over {over}: {number:,}")
    with ExitStack() as cleanups:
        bench = Bench(server.options, Bound(session, workload), CONCURRENCY, cleanups)
        ways = GROWING if count < MILLION else GROWN
        plays = {way: WAYS[way](bench) for way in ways}
        warm_up = 1 if count <= 10_000 else 0
        goes = play_in_turn(plays, statements=count, rounds=rounds, warm_up=warm_up, timed=False)
    for way, taken in goes.items():
        row = results.figures(taken, goes.get(HELPER))
        click.echo(
            f"  {way:38} {row['cpu_us'][0]:8.1f} us {row['rate'][0]:9,.0f}/s {row['failed'] or ''}"
        )
        yield {"over": over, "way": way, **row, over: number}


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--most", type=click.IntRange(min=1), help="[default: 1,000,000; quick: 10,000]")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(folder: Path, quick: bool, most: int | None, rounds: int) -> None:
    most = most or (10_000 if quick else COUNTS[-1])
    rows: list[dict[str, Any]] = []
    with a_server("void") as server, a_session(server) as session:
        for count in [count for count in COUNTS if count <= most] or [most]:
            # A million once: it is not the last percent that is asked for.
            times = max(1, min(rounds, 300_000 // count))
            rows += measure(server, session, "statements", write(20), count, count, times)
        for columns in COLUMNS[::4] if quick else COLUMNS:
            workload, count = write(20, columns), min(most, 2_000)
            rows += measure(server, session, "columns", workload, columns, count, rounds)
        for page in ROWS[::3] if quick else ROWS:
            workload, count = read_many(20, page), min(most, 2_000, 40_000 // page)
            rows += measure(server, session, "rows", workload, page, count, rounds)
    click.echo(f"written: {results.save('growth', rows, folder)}")


if __name__ == "__main__":
    main()
