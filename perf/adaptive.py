"""Where AdaptiveConcurrency goes on a real cluster, beside fixed levels.

Every way inserts the same rows with the same prepared statement, in turn, several times over. A
figure is the median over the rounds; a ratio is to the best fixed level within the same round.
The adaptive limiter starts anew each time, so that what it spends on finding its level is in it.
Nothing is asserted: what is best depends on the cluster and on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path

import click

from concurrent_exec import AdaptiveConcurrency, CallbackExecutor, Limiter
from concurrent_exec.model import Outcome
from perf.servers import a_server, a_session
from perf.workloads import Bound, write

LEVELS = (10, 25, 50, 100, 250, 500, 1000, 2000)
ADAPTIVE = "adaptive"
POINTS = 200
"""How many a line of the plot has."""


class Fixed:
    """A limit that stays what it is."""

    def __init__(self, limit: int) -> None:
        self.limit = self.max_limit = limit

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Learn nothing."""


class Watched:
    """Notes what a limiter is told and where it goes."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.notes: list[tuple[float, float, int, bool]] = []
        """For each attempt when it was over, its seconds, the limit then, whether it succeeded."""

    @property
    def limit(self) -> int:
        """That of the limiter."""
        return self._limiter.limit

    @property
    def max_limit(self) -> int:
        """That of the limiter."""
        return self._limiter.max_limit

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note, and tell the limiter."""
        self._limiter.settled(seconds=seconds, in_flight=in_flight, outcome=outcome)
        now = time.perf_counter()
        self.notes.append((now, seconds, self._limiter.limit, outcome == "success"))


@dataclass(frozen=True)
class Go:
    """One way's turn in one round."""

    start: float
    seconds: float
    notes: list[tuple[float, float, int, bool]]

    @property
    def rate(self) -> float:
        """Successes a second."""
        return sum(success for *_, success in self.notes) / self.seconds

    def latency(self, share: float) -> float:
        """Return the milliseconds that this share of the attempts took at most."""
        taken = sorted(seconds for _, seconds, *_ in self.notes)
        return taken[min(len(taken) - 1, int(share * len(taken)))] * 1000

    def limit(self) -> float:
        """Return the median limit of the second half."""
        return statistics.median(limit for *_, limit, _ in self.notes[len(self.notes) // 2 :])

    def over_time(self) -> tuple[list[float], list[int], list[int]]:
        """Return seconds from the start, successes until then and limit, some `POINTS` of each."""
        done = list(accumulate(success for *_, success in self.notes))
        step = max(1, len(self.notes) // POINTS)
        chosen = range(step - 1, len(self.notes), step)
        return (
            [self.notes[number][0] - self.start for number in chosen],
            [done[number] for number in chosen],
            [self.notes[number][2] for number in chosen],
        )


def go(bound: Bound, limiter: Limiter, count: int) -> Go:
    """Insert so many rows."""
    watched = Watched(limiter)
    start = time.perf_counter()
    with CallbackExecutor(bound.session, concurrency=watched) as executor:
        parameters = bound.parameters(count)
        for _ in executor.map(bound.statement, parameters, raise_on_first_error=False):
            pass
    return Go(start, time.perf_counter() - start, watched.notes)


def plot(goes: dict[str, Go], path: Path) -> None:
    """Draw over time what is done, whose slope is the throughput, and the limit."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # there may be no display
    figure, (above, below) = import_module("matplotlib.pyplot").subplots(
        2, 1, sharex=True, figsize=(8, 7)
    )
    for name, each in goes.items():
        times, done, limits = each.over_time()
        if name == ADAPTIVE:
            style = {"linewidth": 2.5, "color": "black", "zorder": 3}
        else:  # the higher, the brighter
            shade = LEVELS.index(int(name)) / len(LEVELS)
            style = {"linewidth": 1.2, "color": matplotlib.colormaps["viridis"](shade)}
        above.plot(times, done, label=name, **style)
        below.plot(times, limits, label=name, **style)
    above.set_ylabel("statements done")
    above.legend(ncols=2)
    below.set_ylabel("limit")
    below.set_yscale("log")
    below.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path)


def print_table(rounds: list[dict[str, Go]]) -> None:
    """Print a line for each way."""
    best = [max(each.rate for name, each in goes.items() if name != ADAPTIVE) for goes in rounds]
    print(f"{'way':>10} {'statements/s':>13} {'of best fixed':>14} ", end="")
    print(f"{'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'limit':>6}")
    for name in rounds[0]:
        turns = [goes[name] for goes in rounds]

        def median(of: Callable[[Go], float], turns: list[Go] = turns) -> float:
            return statistics.median(map(of, turns))

        share = statistics.median(turn.rate / top for turn, top in zip(turns, best, strict=True))
        failed = sum(not success for turn in turns for *_, success in turn.notes)
        print(f"{name:>10} {median(lambda turn: turn.rate):13,.0f} {share:14.2f} ", end="")
        print(f"{median(lambda turn: turn.latency(0.5)):8.1f} ", end="")
        print(f"{median(lambda turn: turn.latency(0.99)):8.1f} ", end="")
        print(f"{failed:7,} {median(Go.limit):6.0f}")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--contact-points", metavar="HOST[:PORT],...", help="A cluster of your own.")
@click.option(
    "--statements", type=click.IntRange(min=1000), default=30_000, show_default=True, help="A go."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each way goes, after one round to warm up.",
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw the last round over time into this file (.png, .svg); needs matplotlib.",
)
def main(contact_points: str | None, statements: int, rounds: int, picture: Path | None) -> None:
    if picture:
        try:  # now, not after minutes of measuring
            import_module("matplotlib")
        except ImportError as exc:
            raise click.UsageError(f"--plot needs matplotlib: {exc}") from exc
    ways: dict[str, Callable[[], Limiter]] = {ADAPTIVE: AdaptiveConcurrency}
    ways |= {str(level): partial(Fixed, level) for level in LEVELS}
    done: list[dict[str, Go]] = []
    with a_server("cassandra", contact_points) as server, a_session(server) as session:
        bound = Bound(session, write(20))
        for turn in range(-1, rounds):
            goes = {name: go(bound, make(), statements) for name, make in ways.items()}
            if turn >= 0:
                done.append(goes)
    print_table(done)
    if picture:
        plot(done[-1], picture)


if __name__ == "__main__":
    main()
