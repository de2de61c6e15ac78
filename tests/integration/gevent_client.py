"""A client under gevent, which patches the standard library before anything else is imported.

    python -m gevent.monkey --module tests.integration.gevent_client TABLE [REACTOR]

It uses each executor from several greenlets at once, with rows of its own in TABLE, and prints what
it saw as JSON. REACTOR is a connection class of the driver's; by default the driver chooses. How to
reach the cluster is in the environment, as for any client.
"""

from __future__ import annotations

import itertools
import json
import sys
from pkgutil import resolve_name
from typing import Any

import gevent
from gevent.event import Event

from concurrent_exec import DirectExecutor, UnknownDriverError
from concurrent_exec.connect import connect
from concurrent_exec.executors import choose
from tests.executors import IN_ONE_PROCESS
from tests.integration.support import FORMS, MakeExecutor, Rows, values, wait_for

COUNT = 60
WINDOW = 30
CONCURRENCY = 10


def every_form(executor: Any, rows: Rows) -> None:
    """Write and read in each form in which results can be had, in a greenlet for each."""

    def use(number: int, form: Any) -> None:
        keys = range(number * COUNT, (number + 1) * COUNT)
        form(executor, [(rows.insert, (rows.run, key, f"value {key}")) for key in keys])
        found = form(executor, ((rows.select, (rows.run, key)) for key in keys))
        assert values(found) == [f"value {key}" for key in keys]

    greenlets = [gevent.spawn(use, *each) for each in enumerate(FORMS.values())]
    gevent.joinall(greenlets, raise_error=True)


def stopped(executor: Any, rows: Rows) -> int:
    """Leave a run without an end; return how many statements it has started."""
    results = executor.map(
        rows.insert, ((rows.run, key, "") for key in itertools.count()), buffersize=WINDOW
    )
    for _ in range(COUNT):
        next(results)
    results.close()
    wait_for(lambda: executor.statistics().in_flight == 0)
    started: int = results.statistics().started
    assert started == len(rows.written())
    return started


def failing(executor: Any, rows: Rows) -> str:
    """Return the kind of error that ends a run."""
    try:
        executor.map(f"SELECT missing FROM {rows.table}", [None] * COUNT).all()
    except Exception as error:
        return type(error).__name__
    return "none"


def used(make_executor: MakeExecutor, session: Any, table: str) -> dict[str, Any]:
    """Use an executor in every way; return what was seen."""
    ticks = 0
    over = Event()

    def tick() -> None:
        nonlocal ticks
        while not over.wait(0.001):
            ticks += 1

    ticking = gevent.spawn(tick)
    with make_executor(session, concurrency=CONCURRENCY) as executor:
        every_form(executor, Rows(session, table))
        seen = {
            "started": stopped(executor, Rows(session, table)),
            "failed with": failing(executor, Rows(session, table)),
        }
    told = executor.statistics()
    over.set()
    ticking.join()
    return {**seen, "in flight": told.in_flight, "runs": told.runs, "others went on": ticks > 0}


def direct(session: Any, table: str) -> Any:
    """Return what is seen of DirectExecutor, or how it is refused."""
    try:
        return used(DirectExecutor, session, table)
    except UnknownDriverError as error:
        return str(error)


def main(table: str, reactor: str | None = None) -> None:
    """Be the client."""
    # By v5 the drivers' own connections lose bytes where a read ends within a segment's header, and
    # say "CRC mismatch" (docs/direct.md): this client is to show what the reactor does.
    options: dict[str, Any] = {"protocol_version": 4}
    if reactor is not None:
        options["connection_class"] = resolve_name(reactor)
    with connect(**options) as session:
        seen: dict[str, Any] = {
            name: used(make_executor, session, table)
            for name, make_executor in IN_ONE_PROCESS.items()
            if name != "direct"
        }
        seen["direct"] = direct(session, table)
        seen["auto"] = choose(session, session.prepare(f"SELECT * FROM {table}")).name
        seen["reactor"] = session.cluster.connection_class.__name__
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
