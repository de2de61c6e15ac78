"""Each completion sends the next statement: no thread of its own, whatever the concurrency."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import local
from typing import Any, TypeVar

from concurrent_exec.drivers import answered, result_set
from concurrent_exec.executors.base import Executor
from concurrent_exec.model import Clock, Limiter, Observer, RetryPolicy, Session
from concurrent_exec.run import Message
from concurrent_exec.run.interrupts import interrupted

R = TypeVar("R")

log = logging.getLogger(__name__)

A_STRETCH = 256
"""After so many statements a thread leaves the others to another, once it has sent all that may be
in flight. Where all fail at once, for want of a connection, it would else go on as long as there
are any; and if it is the driver's I/O thread, no connection is made meanwhile."""


class _Note:
    """What the loop that sends has noted: that it is under way, and that it should go on."""

    __slots__ = ("launching", "noted")

    def __init__(self) -> None:
        self.launching = self.noted = False


class _Here(local):
    """The note of each thread."""

    def __init__(self) -> None:
        self.note = _Note()


class CallbackExecutor(Executor[R]):
    """Sends statements with `execute_async`; the callback of each answer sends the next one.

    The callbacks run on the driver's I/O thread, so there is no thread per statement and the
    concurrency may be in the hundreds.
    """

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 100,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor; the options are those of `Executor`."""
        super().__init__(
            session,
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
            observers=observers,
        )
        self._here = _Here()

    def _launch(self) -> None:
        # A statement may be answered within execute_async, and its callback calls this again:
        # that leaves a note for the loop that is already under way on this thread, so that any
        # number of such answers runs on a flat stack.
        note = self._here.note
        if note.launching:
            note.noted = True
            return
        note.launching = note.noted = True
        sent = 0
        try:
            while note.noted:
                note.noted = False
                if sent >= A_STRETCH:
                    self._gate.launch_elsewhere()
                else:
                    sent += self._send_some(self._gate.free_permits())
        finally:
            note.launching = False

    def _send_some(self, most: int) -> int:
        """Send up to `most` statements; return how many there were."""
        # No more than there are permits now: whoever frees another sends for it. Else this thread
        # and the driver's I/O thread would both send all the time, and contend for the interpreter.
        for sent in range(most):
            if interrupted() or (job := self._take()) is None:
                return sent
            self._send(job)
        return most

    def _send(self, message: Message) -> None:
        sent = False
        try:
            future = self._execute_async(message)
            sent = True
            arguments = (future, message)
            future.add_callbacks(
                self._on_success,
                self._on_failure,
                callback_args=arguments,
                errback_args=arguments,
            )
        except BaseException as exc:
            message.fail(exc, sent=sent)
            self._launch()  # which leaves a note that its permit is free
            if not isinstance(exc, Exception):
                raise
        else:
            if message.settled:
                future.clear_callbacks()

    def _on_success(self, rows: Any, future: Any, message: Message) -> None:
        # A future calls its callbacks again for each further page that is fetched.
        future.clear_callbacks()
        answered(future)
        try:
            result = result_set(future, rows)
        except Exception as exc:
            self._go_on(message.fail, exc)
        else:
            self._go_on(message.succeed, result)

    def _on_failure(self, exc: BaseException, future: Any, message: Message) -> None:
        future.clear_callbacks()
        answered(future)
        self._go_on(message.fail, exc)

    def _go_on(self, settle: Callable[[Any], None], outcome: Any) -> None:
        try:
            settle(outcome)
            self._launch()
        except BaseException:
            if self._here.note.launching:  # within execute_async: it concerns who has called that
                raise
            log.exception("a statement's callback raised")
