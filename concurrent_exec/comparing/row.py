"""What one strategy at one concurrency came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concurrent_exec.comparing.measuring import Go, Spread

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy at one concurrency; a `Spread` is over the rounds."""

    executor: str
    concurrency: int
    """The most statements in flight."""
    statements: int
    """How many the rounds had, without those to warm up and those whose times were taken."""
    failed: int
    """How many of them failed."""
    errors: Mapping[str, int]
    """What failed statements failed with, in all goes: how many by the exception's type."""
    rate: Spread
    """Statements a second that succeeded."""
    cpu_us: Spread
    """Microseconds of CPU a statement that this process took, all its threads."""
    p50_ms: Spread | None
    """Milliseconds from sending to answer that half of the statements took at most; None where
    the executor told no times."""
    p99_ms: Spread | None
    p999_ms: Spread | None
    peak_mb: Spread
    """Millions of bytes: the most that this process had resident, whatever for."""

    @classmethod
    def of(cls, executor: str, concurrency: int, goes: list[Go], errors: Mapping[str, int]) -> Row:
        """Return what these goes, at least one, come to."""
        latencies = [go.latency for go in goes if go.latency is not None]

        def ms(seconds: list[float]) -> Spread | None:
            return Spread.of(each * 1000 for each in seconds) if seconds else None

        return cls(
            executor=executor,
            concurrency=concurrency,
            statements=sum(go.statements for go in goes),
            failed=sum(go.failed for go in goes),
            errors=dict(errors),
            rate=Spread.of(go.rate for go in goes),
            cpu_us=Spread.of(go.cpu_us for go in goes),
            p50_ms=ms([latency.p50 for latency in latencies]),
            p99_ms=ms([latency.p99 for latency in latencies]),
            p999_ms=ms([latency.p999 for latency in latencies]),
            peak_mb=Spread.of(go.peak_bytes / _MB for go in goes),
        )

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Row:
        """Return the row that `dataclasses.asdict` made this of."""
        spreads = {
            name: Spread(**value)
            for name, value in held.items()
            if isinstance(value, dict) and name != "errors"
        }
        return cls(**{**held, **spreads})
