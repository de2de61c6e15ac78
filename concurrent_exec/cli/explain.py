"""What `concurrent-exec run --explain` says."""

from __future__ import annotations

from concurrent_exec.bulk import BulkRun


def explain(run: BulkRun) -> str:
    """Return what `run` would do."""
    raise NotImplementedError
