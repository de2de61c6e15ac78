"""Pulling the caller's iterable ahead, where that is allowed to wait."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from threading import Thread
from typing import Any

from concurrent_exec.run.run import Run

Feed = Callable[[Run, Callable[[], None], Context], object]
"""Has a run's iterator pulled in the context; is given what launches, too."""


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
    doorbell: SimpleQueue[None] = SimpleQueue()
    run.doorbell = doorbell  # nobody has rung before, as nobody has asked
    try:
        while (room := demand(run)) is not None:
            if not room:
                doorbell.get()
            while room > 0 and (pulled := pull(run, room)):
                room -= pulled  # a delivery may have made more meanwhile, which can wait
                if run.gate.may_take():
                    launch()
            if run.gate.may_take():
                launch()
    except BaseException as exc:  # it has nobody above it to tell, but the run's caller
        run.end_of_input(exc.with_traceback(None))
    finally:
        # The feeder is the one to finalise a generator, as it was the one to run it.
        run.source.let_go()


def demand(run: Run) -> int | None:
    """Return how many statements to pull, as `Run.demand` says."""
    with run.gate.lock:
        return run.demand()


def pull(run: Run, most: int) -> int:
    """Pull one statement into the run; or up to `most`, where they come many at a time.

    Returns how many, or 0 where the run wants no more.
    """
    lists = run.source.lists
    if lists is None or run.lanes is not None:
        return int(pull_one(run))
    try:
        items = lists.some(most)
    except Exception as exc:
        return int(raised(run, exc))
    if items is None:
        run.end_of_input(None)
        return 0
    return len(items) if run.offer_all(items) else 0


def pull_one(run: Run) -> bool:
    """Pull one statement into the run, or learn that the input is at its end or raises.

    Returns whether the run may want more.
    """
    iterator = run.source.iterator
    assert iterator is not None
    try:
        item = next(iterator)
    except StopIteration:
        run.end_of_input(None)
        return False
    except Exception as exc:
        return raised(run, exc)
    return offer(run, item)


def offer(run: Run, item: Any) -> bool:
    """Put an item of the input into the run; say whether the run may want more."""
    index = run.pulled
    try:
        statement, parameters = run.source.pair(index, item)
        lanes = run.lanes
        lane = None if lanes is None else lanes.lane_of(index, statement, parameters)
    except Exception as exc:
        return raised(run, exc)
    return run.offer(statement, parameters, lane)


def raised(run: Run, exc: Exception) -> bool:
    """End the run's input with what it has raised to the caller of this; return False."""
    # The caller's frame refers to the run, which is about to refer to the exception.
    exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next
    run.end_of_input(exc)
    return False
