"""Where the knee of a strategy is, and which strategy to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from concurrent_exec.comparing.row import Row

NEAR = 0.9
"""The share of the best throughput that is as good as the best."""

RULE = (
    f"The knee of an executor is the lowest concurrency that has at least {NEAR:.0%} of its best "
    "throughput: beyond it more in flight brings little but waiting. Recommended is the executor "
    f"whose knee has at least {NEAR:.0%} of the best throughput of all; of several such, the one "
    "that takes the least CPU a statement. Only what had no failures counts."
)
"""The rule, in words.

The knee as the point beyond which throughput gains little and response time grows is that of Raj
Jain, The Art of Computer Systems Performance Analysis (1991), section 3.3. How little is little is
ours: Kleinrock's power (throughput / response time, 1979) puts the knee lower, where a bulk load
would give up a good part of its throughput for a response time that it does not need.
"""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Which way to take."""

    executor: str
    concurrency: int
    reason: str


def knees(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the knee of each executor that has ways without failures."""
    found: dict[str, Row] = {}
    sound = [row for row in rows if not row.failed and row.rate.median > 0]
    for executor in dict.fromkeys(row.executor for row in sound):
        own = [row for row in sound if row.executor == executor]
        enough = NEAR * max(row.rate.median for row in own)
        found[executor] = min(
            (row for row in own if row.rate.median >= enough), key=lambda row: row.concurrency
        )
    return found


def recommend(rows: Sequence[Row]) -> Recommendation | None:
    """Return the way to take and why, or None where every way had failures."""
    found = knees(rows)
    if not found:
        return None
    sound = [row for row in rows if not row.failed]
    best = max(sound, key=lambda row: row.rate.median)
    near = [row for row in found.values() if row.rate.median >= NEAR * best.rate.median]
    chosen = min(near, key=lambda row: row.cpu_us.median)
    reason = _reason(chosen, best, [row for row in near if row is not chosen])
    highest = max(row.concurrency for row in rows if row.executor == chosen.executor)
    if chosen.concurrency == highest:
        reason += " No higher concurrency was measured: one may bring more."
    doubt = max(row.rate.deviation for row in (best, *near))
    if doubt > 1 - NEAR:
        reason += (
            f" The rounds differ by up to {doubt:.0%}, which is more than what decides: measure "
            "again, with less else going on, or with more rounds and statements."
        )
    return Recommendation(chosen.executor, chosen.concurrency, reason)


def _reason(chosen: Row, best: Row, others: list[Row]) -> str:
    words = f"{chosen.rate.median:,.0f} statements/s"
    if chosen is best:
        words += " are the most that was measured"
    else:
        share = chosen.rate.median / best.rate.median
        words += f" are {share:.0%} of the most that was measured ({_way(best)})"
    if chosen.p99_ms is not None:
        words += f", with a p99 of {chosen.p99_ms.median:,.1f} ms"
        if chosen is not best and best.p99_ms is not None:
            words += f" instead of {best.p99_ms.median:,.1f} ms"
    words += "."
    if others:
        rivals = " and ".join(f"{row.cpu_us.median:,.0f} us by {_way(row)}" for row in others)
        words += (
            " Of the executors that reach as much it takes the least CPU: "
            f"{chosen.cpu_us.median:,.0f} us a statement instead of {rivals}."
        )
    return words


def _way(row: Row) -> str:
    return f"{row.executor} at {row.concurrency:,}"
