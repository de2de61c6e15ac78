"""Where `concurrent-exec run` puts its files, and what it finds in those of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concurrent_exec.bulk import BulkError, BulkOptions
from concurrent_exec.bulk.journal import read

from .run_options import Given

FAILED = ".failed.jsonl"
CHECKPOINT = ".checkpoint"
_AGAIN = re.compile(r"\.failed(?:\.(\d+))?\.jsonl$")


@dataclass(frozen=True)
class Names:
    """The files of failed records and of the journal; None for what is not wanted."""

    failed: Path
    checkpoint: Path | None

    @classmethod
    def of(cls, files: Sequence[str], given: Given) -> Names:
        """Return those that are given, else those beside the first input."""
        again: Path | None = given.retry_failed
        if again is not None:
            number = _AGAIN.search(again.name)
            next_number = int(number[1] or 1) + 1 if number else 2
            stem = _AGAIN.sub("", again.name)
            failed = again.with_name(f"{stem}.failed.{next_number}.jsonl")
            beside = again
        else:
            beside = Path(files[0])
            if files[0] == "-":
                beside = Path("stdin")
            elif any(each in files[0] for each in "*?["):  # a pattern
                beside = beside.with_name(re.sub(r"[*?\[\]]+", "_", beside.name))
            failed = Path(f"{beside}{FAILED}")
        checkpoint = given.checkpoint or Path(f"{beside}{CHECKPOINT}")
        keeps = not given.no_checkpoint and str(given.output) != "-"
        return cls(given.failed or failed, checkpoint if keeps else None)

    def options(self) -> BulkOptions:
        """Return what they mean to a run."""
        return BulkOptions(failed_file=self.failed, checkpoint=self.checkpoint)


def earlier_identity(failed: Path) -> Mapping[str, Any]:
    """Return what the journal says that is beside a failed file of the usual name.

    Raises BulkError where there is none.
    """
    number = _AGAIN.search(failed.name)
    stem = _AGAIN.sub("", failed.name)
    # The second failed file is that of the run over the first.
    beside = {None: stem, "2": f"{stem}{FAILED}"}.get(
        number and number[1], f"{stem}.failed.{int((number and number[1]) or 2) - 1}.jsonl"
    )
    journal = failed.with_name(beside + CHECKPOINT)
    known = read(journal)
    if known is None:
        raise BulkError(
            f"what statement {failed} is of can't be told, as {journal} is not there: give it "
            "before --retry-failed"
        )
    identity: Mapping[str, Any] = known["identity"]
    return identity
