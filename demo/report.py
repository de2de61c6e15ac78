"""What the demo prints at its end."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .measure import Phase

_LEFT = ("strategy", "what")
_RIGHT = ("statements", "failed", "rows/s", "p50 ms", "p99 ms", "peak MB")
_PIPE_WIDTH = 100


def print_table(phases: Sequence[Phase]) -> None:
    """Print what each of `phases` did and cost, and below it what its numbers are."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    made = Table(box=box.SIMPLE, pad_edge=False)
    for name in _LEFT:
        made.add_column(name, no_wrap=True)
    for name in _RIGHT:
        made.add_column(name, justify="right", no_wrap=True)
    for phase in phases:
        made.add_row(
            phase.strategy,
            phase.what,
            f"{phase.statements:,}",
            f"{phase.failed:,}",
            f"{phase.rows / phase.seconds:,.0f}" if phase.seconds else "-",
            f"{phase.p50_ms:.1f}",
            f"{phase.p99_ms:.1f}",
            f"{phase.peak_mb:.0f}",
        )
    console.print(made)
    own = all(phase.peak_is_own for phase in phases)
    print("p50, p99: of a statement's time, from its sending to its answer")
    print("peak: of this process's resident memory,", "in each step" if own else "since its start")


def print_complaints(phase: Phase) -> None:
    """Print what went wrong in `phase`: the first few, and how many there are."""
    print(
        f"{phase.what} ({phase.strategy}): {phase.statements:,} statements, "
        f"{phase.failed:,} failed, {phase.wrong:,} answers differ from the file"
    )
    for words in phase.complaints:
        print(f"  {words}")
    more = phase.failed + phase.wrong - len(phase.complaints)
    if more > 0:
        print(f"  and {more:,} more")
