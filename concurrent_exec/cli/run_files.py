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
_NO_FOLDERS = ("/dev/", "/proc/")
"""Where nothing can be put beside a pipe, such as a shell's <(command)."""
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
        if again is None:
            beside = _beside(files[0])
            failed = Path(f"{beside}{FAILED}")
        else:
            stem, number = _generation(again)
            beside = again
            failed = again.with_name(f"{stem}.failed.{number + 1}.jsonl")
        checkpoint = given.checkpoint or Path(f"{beside}{CHECKPOINT}")
        keeps = not given.no_checkpoint and str(given.output) != "-"
        return cls(given.failed or failed, checkpoint if keeps else None)

    def options(self) -> BulkOptions:
        """Return what they mean to a run."""
        return BulkOptions(failed_file=self.failed, checkpoint=self.checkpoint)


def _beside(file: str) -> Path:
    """Return what the names of a run's files begin with, by its first input."""
    if file == "-" or file.startswith(_NO_FOLDERS):
        return Path("stdin")
    path = Path(file)
    return path.with_name(re.sub(r"[*?\[\]]+", "_", path.name))  # it may be a pattern


def _generation(failed: Path) -> tuple[str, int]:
    """Return of a failed file's name what is before ".failed", and which one it is, from 1."""
    found = _AGAIN.search(failed.name)
    return _AGAIN.sub("", failed.name), int((found and found[1]) or 1)


def earlier_identity(failed: Path) -> Mapping[str, Any]:
    """Return what the journal says that is beside a failed file of the usual name.

    Raises BulkError where there is none.
    """
    stem, number = _generation(failed)
    # The second one is of the run over the first, and so on.
    inputs = {1: stem, 2: f"{stem}{FAILED}"}
    journal = failed.with_name(inputs.get(number, f"{stem}.failed.{number - 1}.jsonl") + CHECKPOINT)
    known = read(journal)
    if known is None:
        raise BulkError(
            f"what statement {failed} is of can't be told, as {journal} is not there: give it "
            "before --retry-failed"
        )
    identity: Mapping[str, Any] = known["identity"]
    return identity
