"""How far a run is: live on a terminal, a line at intervals elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import TIMEOUT_MAX, Event, Thread
from typing import Any

from concurrent_exec.bulk import BulkRun

from .streams import say

_REFRESHED = 4
"""How often a second the live display is drawn."""
_RECENT = 5.0
"""Seconds over which the rate "now" is taken."""


@dataclass(frozen=True, slots=True)
class State:
    """What is shown."""

    settled: int
    total: int | None
    share: float | None
    """Of what is to be done, where that is known."""
    now: float
    """Records a second, of late."""
    mean: float
    at_work: str
    """What is in flight, in words."""
    retries: int
    failed: dict[str, int]
    seconds_left: float | None
    latencies: tuple[float, ...]
    """Seconds: p50, p99 and p999, where they are measured."""


class Looker:
    """Looks at a run now and then."""

    def __init__(self, run: BulkRun, histogram: Any = None) -> None:
        """Make one; `histogram` is a LatencyHistogram that observes the run, if any does."""
        self._run = run
        self._histogram = histogram
        self._start = time.monotonic()
        self._seen: list[tuple[float, int]] = []

    def look(self) -> State | None:
        """Return what there is to show; None before the run has begun."""
        run, ledger, at_work = self._run, self._run.ledger, self._run.at_work()
        if ledger is None or at_work is None:
            return None
        now, settled = time.monotonic(), ledger.settled
        settled_before = ledger.settled_before
        self._seen = [each for each in self._seen if each[0] > now - _RECENT] or [
            (self._start, settled_before)
        ]
        then, before = self._seen[0]
        self._seen.append((now, settled))
        elapsed = max(now - self._start, 1e-9)
        mean = (settled - settled_before) / elapsed
        share, share_before = run.shares() or (None, 0.0)
        histogram = self._histogram
        return State(
            settled=settled,
            total=run.total_records,
            share=share,
            now=(settled - before) / max(now - then, 1e-9),
            mean=mean,
            at_work=at_work[0],
            retries=at_work[1],
            failed=dict(ledger.kinds.most_common()),
            seconds_left=None
            if share is None or share <= share_before
            else elapsed * (1 - share) / (share - share_before),
            latencies=()
            if histogram is None or not histogram.count
            else tuple(histogram.percentile(percent) for percent in (50, 99, 99.9)),
        )


def in_words(state: State) -> str:
    """Return a line that says all of `state`."""
    of = f" of {state.total:,}" if state.total else ""
    parts = [f"{state.settled:,}{of} records"]
    if state.share is not None:
        parts.append(f"{state.share:.0%}")
    parts.append(f"{state.now:,.0f}/s now, {state.mean:,.0f}/s mean")
    parts.append(state.at_work)
    if state.failed:
        parts.append("failed: " + ", ".join(f"{n:,} {kind}" for kind, n in state.failed.items()))
    if state.retries:
        parts.append(f"{state.retries:,} retries")
    if state.latencies:
        names = ("p50", "p99", "p999")
        parts.append(
            ", ".join(
                f"{name} {seconds * 1000:,.1f} ms"
                for name, seconds in zip(names, state.latencies, strict=True)
            )
        )
    if state.seconds_left is not None:
        parts.append(f"{duration(state.seconds_left)} left")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words, such as "2 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@contextmanager
def shown_on_terminal(looker: Looker) -> Iterator[None]:
    """Draw it live, as long as the block goes on."""
    from rich.console import Console
    from rich.live import Live

    with Live(
        get_renderable=lambda: _table(looker.look()),
        console=Console(stderr=True),
        refresh_per_second=_REFRESHED,
        transient=True,
    ):
        yield


def _table(state: State | None) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    if state is None:
        return Text("connecting")
    parts: list[Any] = []
    if state.share is not None:
        parts.append(ProgressBar(total=1.0, completed=state.share, width=60))
    parts += [Text(part) for part in in_words(state).split("; ")]
    return Group(*parts)


@contextmanager
def shown_in_lines(looker: Looker, seconds: float) -> Iterator[None]:
    """Write a line to standard error at intervals, as long as the block goes on."""
    over = Event()

    def write() -> None:
        while not over.wait(min(seconds, TIMEOUT_MAX)):
            state = looker.look()
            if state is not None:
                say(in_words(state))

    thread = Thread(target=write, name="concurrent_exec-display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
