"""What the strategies have in common that send over a session's own connections."""

from __future__ import annotations

import logging
from typing import TypeVar

from concurrent_exec.drivers.direct import Failed, Succeeded, Wire
from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.run import succeed_all

R = TypeVar("R")

log = logging.getLogger(__name__)


class WiredExecutor(CallbackExecutor[R]):
    """Sends over a wire, if it has one; what is not plain goes as `CallbackExecutor` sends it."""

    _wire: Wire | None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down as `Executor.shutdown` does."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if self._wire is not None:
            self._wire.close()

    def _on_answers(self, succeeded: Succeeded, failed: Failed) -> None:
        try:
            self._succeed(succeeded)
            for message, error in failed:
                message.fail(error)
            self._launch()
        except BaseException:
            if self._here.note.launching:  # within a send: it concerns who has called that
                raise
            log.exception("answers could not be passed on")

    def _succeed(self, succeeded: Succeeded) -> None:
        succeed_all(succeeded)
