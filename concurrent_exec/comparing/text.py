"""The table of a comparison, for a terminal."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from concurrent_exec.comparing.choosing import RULE
from concurrent_exec.comparing.measuring import Spread

if TYPE_CHECKING:
    from concurrent_exec.comparing.comparison import Comparison

_NUMBERS = (
    "concurrency",
    "statements/s",
    "CPU us",
    "p50 ms",
    "p99 ms",
    "p999 ms",
    "peak MB",
    "failed",
)


def render(comparison: Comparison, width: int) -> str:
    """Return the table, the recommendation and what the columns are."""
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("executor", no_wrap=True)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    knees = comparison.knees
    for row in comparison.rows:
        table.add_row(
            row.executor,
            f"{row.concurrency:,}",
            _with_spread(row.rate),
            _with_spread(row.cpu_us),
            _median(row.p50_ms),
            _median(row.p99_ms),
            _median(row.p999_ms),
            f"{row.peak_mb.median:,.0f}",
            f"{row.failed:,}",
            "knee" if knees.get(row.executor) is row else "",
        )
    console = Console(file=StringIO(), width=width, highlight=False, markup=False)
    console.print(comparison.statement)
    console.print(table)
    console.print(comparison.verdict)
    console.print(
        f"\nMedians of {comparison.rounds} rounds of {comparison.statements_per_go:,} statements, "
        "with the largest distance from them. CPU: of this process, a statement. p50 to p999: from "
        "sending to answer. Peak: of this process's resident memory. " + RULE
    )
    written: StringIO = console.file  # type: ignore[assignment]
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _with_spread(spread: Spread) -> str:
    most = f" ±{spread.deviation:.0%}" if spread.median else ""
    return f"{spread.median:,.0f}{most}"


def _median(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:,.1f}"
