"""Every executor that there is: a suite that takes these holds for all of them alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Thread
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import pytest

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    Executor,
    ProcessExecutor,
    ThreadExecutor,
)


class Here:
    """Gives a session of this process to a worker that is in this process too; it pickles."""

    _sessions: ClassVar[WeakValueDictionary[int, Any]] = WeakValueDictionary()

    def __init__(self, session: Any) -> None:
        self.number = id(session)
        self._sessions[self.number] = session

    def __call__(self) -> AbstractContextManager[Any]:
        return nullcontext(self._sessions[self.number])


class Threads(Pool):
    """A pool whose workers are threads of this process, one a task.

    They are daemons: a task that waits for ever must not keep the tests from ending.
    """

    def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(run(*arguments, **named))
            except BaseException as exc:
                future.set_exception(exc)

        Thread(target=work, daemon=True).start()
        return future


def process_executor(session: Any, **options: Any) -> Executor[Any]:
    """Return one whose workers are threads, with the same pickling in between.

    Each statement is a chunk of its own, so that each answer is known when it comes.
    """
    given = {"concurrency": 100, "chunksize": 1, "linger": 0, "pool": Threads, **options}
    executor: Executor[Any] = ProcessExecutor(Here(session), **given)
    executor.session = session  # as the others, it keeps the session alive
    return executor


IN_ONE_PROCESS: dict[str, Callable[..., Executor[Any]]] = {
    "callback": CallbackExecutor,
    "thread": ThreadExecutor,
    "batch": partial(BatchExecutor, batch_mode="replica_set", linger=0),
    "direct": DirectExecutor,
}
"""Those that send over a session of the caller's, and hand on the very errors that it raises."""

EVERY_EXECUTOR = IN_ONE_PROCESS | {"process": process_executor}

PROOF = os.environ.get("CONCURRENT_EXEC_PROOF") == "1"
EXECUTORS = EVERY_EXECUTOR if PROOF else IN_ONE_PROCESS
"""Small, the property suite and tests of its own are all that ProcessExecutor is in."""

ONE_BY_ONE = {name: make for name, make in EXECUTORS.items() if name != "batch"}
"""Those that send each statement in a message of its own, and again only as a policy says."""

every_executor = pytest.mark.parametrize(
    "make_executor", EVERY_EXECUTOR.values(), ids=EVERY_EXECUTOR
)
any_executor = pytest.mark.parametrize("make_executor", EXECUTORS.values(), ids=EXECUTORS)
one_by_one = pytest.mark.parametrize("make_executor", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
in_one_process = pytest.mark.parametrize(
    "make_executor", IN_ONE_PROCESS.values(), ids=IN_ONE_PROCESS
)
