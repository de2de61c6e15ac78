"""Pulling the caller's iterable ahead, where that is allowed to wait."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from threading import Thread

from concurrent_exec.run.run import Run


def start_feeder(run: Run, launch: Callable[[], None], context: Context) -> None:
    """Start the thread that pulls the run's iterator, within `context`.

    It is a daemon, since an input that blocks for ever must not keep the interpreter from
    exiting; it ends with the input or the run.
    """
    thread = Thread(
        target=context.run, args=(_feed, run, launch), name="concurrent_exec-feeder", daemon=True
    )
    thread.start()


def _feed(run: Run, launch: Callable[[], None]) -> None:
    try:
        while True:
            with run.gate.lock:
                room = run.demand()
            if room is None:
                return
            if not room:
                run.doorbell.get()
            while room > 0 and pull_one(run):
                room -= 1  # a delivery may have made more meanwhile, which can wait
                if run.gate.may_take():
                    launch()
            if run.gate.may_take():
                launch()
    except BaseException as exc:  # it has nobody above it to tell, but the run's caller
        run.end_of_input(exc.with_traceback(None))
    finally:
        # The feeder is the one to finalise a generator, as it was the one to run it.
        run.source.iterator = None


def pull_one(run: Run) -> bool:
    """Pull one statement into the run, or learn that the input is at its end or raises.

    Returns whether the run may want more.
    """
    source = run.source
    assert source.iterator is not None
    index = run.pulled
    try:
        try:
            item = next(source.iterator)
        except StopIteration:
            run.end_of_input(None)
            return False
        statement, parameters = source.pair(index, item)
        lanes = run.lanes
        lane = None if lanes is None else lanes.lane_of(index, statement, parameters)
    except Exception as exc:
        # This frame refers to the run, which is about to refer to the exception.
        exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next
        run.end_of_input(exc)
        return False
    return run.offer(statement, parameters, lane)
