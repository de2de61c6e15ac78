"""What all scripts can be told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from perf import results

F = TypeVar("F", bound=Callable[..., Any])


def _elsewhere_if_quick(context: click.Context, option: click.Parameter, folder: Path) -> Path:
    """Keep a quick run from the figures of a whole one, which are kept."""
    quick = context.params["quick"] and folder == results.FOLDER
    return results.QUICK_FOLDER if quick else folder


def common(command: F) -> F:
    """Add the options that every script has."""
    for option in (
        click.option("--quick", is_flag=True, is_eager=True, help="Only a few small lines."),
        click.option(
            "--folder",
            type=click.Path(file_okay=False, path_type=Path),
            default=results.FOLDER,
            show_default="perf/results; quick: build/perf",
            callback=_elsewhere_if_quick,
            help="Of the JSON.",
        ),
    ):
        command = option(command)
    return command
