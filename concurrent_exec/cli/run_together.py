"""Which options of `concurrent-exec run` go together, beside those that `bulk` looks at itself."""

from __future__ import annotations

from concurrent_exec.bulk.outputs import STANDARD_OUTPUT

from .run_options import Given

_READING = ("format", "header", "delimiter", "quote", "escape", "encoding")
_EITHER = (
    ("checkpoint", "no_checkpoint"),
    ("explain", "dry_run"),
    ("dry_run", "latency"),
    ("quiet", "progress"),
)
"""Of each pair one would do nothing."""


def check_together(given: Given) -> None:
    """Raise ValueError naming an option that would do nothing beside another one."""
    for one, other in _EITHER:
        if {one, other} <= given.explicit:
            raise ValueError(f"{_option(one)} and {_option(other)}: give one or the other")
    if given.retry_failed is not None:
        for name in _READING:
            if name in given.explicit:
                raise ValueError(f"{_option(name)} is about files, and a failed file says itself")
    if given.executor.startswith("batch") and "batch_mode" in given.explicit:
        if given.batch_mode == "disabled":
            raise ValueError(f"--executor {given.executor} sends batches: --batch-mode says none")
    _check_standard_output(given)
    # What is written in the end is a pity to lose then.
    for path in (given.json_file, *given.latency):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"the folder of {path} is not there")


def _check_standard_output(given: Given) -> None:
    if str(given.output) != STANDARD_OUTPUT:
        return
    if given.checkpoint is not None:
        raise ValueError("--checkpoint: standard output is no output that can be resumed")
    if str(given.json_file) == STANDARD_OUTPUT:
        raise ValueError("--json and --output can't both go to standard output")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
