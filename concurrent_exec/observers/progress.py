"""How far each run is, on the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from concurrent_exec.model import Observer, RunFinished, RunStarted, StatementSettled
from concurrent_exec.observers._missing import missing

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

REDRAWN = 0.1
"""Seconds between two updates: thousands of them a second would cost more than the statements."""


class TqdmProgress(Observer):
    """A tqdm bar for each run; how many statements have failed stands behind it."""

    def __init__(self, **options: Any) -> None:
        """Make an observer (extra `progress`).

        options: those of `tqdm.tqdm`; `total` where a run does not know it, as of a generator.

        Raises ImportError, which says what to install, where tqdm is missing.
        """
        try:
            from tqdm.auto import tqdm
        except ModuleNotFoundError as exc:
            raise missing("TqdmProgress", "progress", exc) from exc
        self._make: Any = tqdm
        self._options = {"unit": " statements", **options}
        self._bars: dict[RunStarted, Any] = {}
        self._failed: dict[RunStarted, int] = {}

    def on_run_started(self, details: RunStarted) -> None:
        """Draw a bar."""
        self._bars[details] = self._make(**{"total": details.total, **self._options})
        self._failed[details] = 0

    def on_settled(self, details: StatementSettled) -> None:
        """Move it by one; tqdm sees to it that this does not draw it anew each time."""
        run = details.run
        if run is None:
            return
        bar = self._bars[run]
        if not details.success:
            self._failed[run] += 1
            bar.set_postfix(failed=self._failed[run], refresh=False)
        bar.update()

    def on_finished(self, details: RunFinished) -> None:
        """Leave it as it is."""
        del self._failed[details.run]
        self._bars.pop(details.run).close()


class _Task:
    __slots__ = ("done", "drawn", "failed", "id")

    def __init__(self, task: TaskID) -> None:
        self.id = task
        self.done = self.failed = 0
        self.drawn = time.monotonic()


class RichProgress(Observer):
    """A task of a rich `Progress` for each run; its field `failed` counts failures."""

    def __init__(self, progress: Progress | None = None, description: str = "statements") -> None:
        """Make an observer (extra `progress`).

        progress: the caller's own, which the caller starts and stops. By default there is one
            with a bar, a count and the time that is left, shown while any run goes on.
        description: what stands before the bar, in rich's markup.

        Raises ImportError, which says what to install, where rich is missing.
        """
        try:
            from rich import progress as parts
        except ModuleNotFoundError as exc:
            raise missing("RichProgress", "progress", exc) from exc
        self._own = progress is None
        self._progress = progress or parts.Progress(
            parts.TextColumn("{task.description}"),
            parts.BarColumn(),
            parts.MofNCompleteColumn(),
            parts.TextColumn("{task.fields[failed]} failed"),
            parts.TimeRemainingColumn(),
        )
        self._description = description
        self._tasks: dict[RunStarted, _Task] = {}

    def on_run_started(self, details: RunStarted) -> None:
        """Add a task."""
        if self._own and not self._tasks:
            self._progress.start()
        task = self._progress.add_task(self._description, total=details.total, failed=0)
        self._tasks[details] = _Task(task)

    def on_settled(self, details: StatementSettled) -> None:
        """Count the statement."""
        if details.run is None:
            return
        task = self._tasks[details.run]
        task.done += 1
        task.failed += not details.success
        now = time.monotonic()
        if now >= task.drawn + REDRAWN:
            task.drawn = now
            self._draw(task)

    def on_finished(self, details: RunFinished) -> None:
        """Show what became of the run."""
        task = self._tasks.pop(details.run)
        self._draw(task)
        self._progress.stop_task(task.id)
        if self._own and not self._tasks:
            self._progress.stop()

    def _draw(self, task: _Task) -> None:
        self._progress.update(task.id, completed=task.done, failed=task.failed)
