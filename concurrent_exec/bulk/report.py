"""What became of a bulk run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Ended = Literal["finished", "interrupted", "too many errors"]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the records; over all runs, where this one was resumed."""

    ended: Ended
    """"finished": each record is done or has failed. Else some were not sent, and can be by
    resuming."""
    succeeded: int
    """Records whose statement succeeded."""
    failed: int
    """Records whose statement failed."""
    rejected: int
    """Records that could not be parsed or converted, so that nothing was sent."""
    rows: int
    """Rows that reads have brought."""
    not_found: int
    """Records whose read brought no row."""
    not_applied: int
    """Records whose conditional write was not applied, as its condition was not met."""
    retries: int
    """How often a statement was sent again after it had failed."""
    kinds: Mapping[str, int]
    """How many failed or were rejected, by the kind of their error."""
    seconds: float
    """How long it has taken."""
    dry_run: bool = False
    """Whether nothing was sent: `succeeded` then counts what could have been."""
    failed_file: Path | None = None
    """Where the records are that failed or were rejected; None where there are none."""
    output: Path | None = None
    """Where the rows are."""
    checkpoint: Path | None = None
    """What the run can be resumed by."""
    examples: tuple[str, ...] = field(default=(), repr=False)
    """The first failure of each kind in this run, in words: where and what, no value."""

    @property
    def records(self) -> int:
        """How many records are settled."""
        return self.succeeded + self.failed + self.rejected

    @property
    def all_done(self) -> bool:
        """Whether the input is at its end, and nothing has failed."""
        return self.ended == "finished" and not (self.failed or self.rejected)

    @property
    def per_second(self) -> float:
        """Records settled in a second, on the whole."""
        return self.records / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "examples"
        }
        for name in ("failed_file", "output", "checkpoint"):
            found[name] = None if found[name] is None else str(found[name])
        return {
            **found,
            "kinds": dict(self.kinds),
            "records": self.records,
            "records_per_second": round(self.per_second, 1),
        }
