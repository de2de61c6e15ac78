"""Waiting until an executor has done all that it can do."""

from __future__ import annotations

import time
from typing import Any

from concurrent_exec.run import Source
from concurrent_exec.testing.input import ScriptedInput
from concurrent_exec.testing.session import ScriptedSession


def wait_until_quiet(executor: Any, session: ScriptedSession, *, seconds: float = 30.0) -> None:
    """Return when nothing moves any more until the test or the clock does something.

    That is so when all that may be sent is sent, every answer has been taken in, and each feeder
    waits for room or for a `ScriptedInput`. A schedule that is played with this between its
    steps is the same every time, whatever threads the executor has.

    Raises TimeoutError where that does not come about within `seconds` of real time.
    """
    deadline = time.monotonic() + seconds
    pause = 0.0
    while not _quiet(executor, session):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not quiet after {seconds} s: {executor.statistics()}")
        time.sleep(pause)
        pause = min(0.001, pause + 0.00002)


def _quiet(executor: Any, session: ScriptedSession) -> bool:
    gate = executor._gate
    runs = executor._living_runs()
    with gate.lock:
        in_flight = sum(request.size for request in session.pending)
        news = gate.news is not None and gate.news.busy
        if news or gate.may_take() or gate.telling or gate.in_flight != in_flight:
            return False
        return all(run.at_rest or _waits(run.source) for run in runs)


def _waits(source: Source) -> bool:
    iterator = source.iterator if source.lists is None else source.lists.lists
    return isinstance(iterator, ScriptedInput) and iterator.waiting
