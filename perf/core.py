"""What the executors cost beside the drivers' helper and a bare chain of callbacks.

Every way inserts the same rows with the same prepared statement, in turn, several times over. CPU
is that of this process (user and system), so the server's is left out; ratios are to the helper
in list form, within the same round.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cassandra.concurrent as helper

from concurrent_exec import CallbackExecutor, ThreadExecutor
from concurrent_exec.cluster import LocalCassandra
from concurrent_exec.connect import ConnectionOptions, connect

CONCURRENCY = 100
WORKERS = 32

Way = Callable[[Any, Any, int], object]


def rows(count: int) -> Iterator[tuple[int, str]]:
    """Yield the parameters of `count` inserts."""
    return ((number, f"value {number}") for number in range(count))


def helper_list(session: Any, insert: Any, count: int) -> object:
    return helper.execute_concurrent_with_args(session, insert, list(rows(count)), CONCURRENCY)


def helper_stream(session: Any, insert: Any, count: int) -> object:
    results = helper.execute_concurrent_with_args(
        session, insert, rows(count), CONCURRENCY, results_generator=True
    )
    return sum(1 for _ in results)


def bare_chain(session: Any, insert: Any, count: int) -> object:
    """Each answer sends the next: no order, no results, no errors, no bounds."""
    source = rows(count)
    lock = threading.Lock()
    done = threading.Event()
    left = count

    def send_next() -> None:
        with lock:
            parameters = next(source, None)
        if parameters is not None:
            future = session.execute_async(insert, parameters)
            future.add_callbacks(answered, answered, callback_args=(future,))

    def answered(rows: object, future: Any) -> None:
        nonlocal left
        future.clear_callbacks()
        with lock:
            left -= 1
            last = not left
        if last:
            done.set()
        send_next()

    for _ in range(CONCURRENCY):
        send_next()
    return done.wait()


def callback_list(session: Any, insert: Any, count: int) -> object:
    with CallbackExecutor(session, concurrency=CONCURRENCY) as executor:
        return executor.map(insert, list(rows(count))).all()


def callback_stream(session: Any, insert: Any, count: int) -> object:
    with CallbackExecutor(session, concurrency=CONCURRENCY) as executor:
        return sum(1 for _ in executor.map(insert, rows(count)))


def thread_list(session: Any, insert: Any, count: int) -> object:
    with ThreadExecutor(session, concurrency=WORKERS) as executor:
        return executor.map(insert, list(rows(count))).all()


def thread_stream(session: Any, insert: Any, count: int) -> object:
    with ThreadExecutor(session, concurrency=WORKERS) as executor:
        return sum(1 for _ in executor.map(insert, rows(count)))


WAYS: dict[str, Way] = {
    "drivers' helper, list": helper_list,
    "drivers' helper, generator": helper_stream,
    "bare chain": bare_chain,
    "CallbackExecutor, list": callback_list,
    "CallbackExecutor, stream": callback_stream,
    "ThreadExecutor, list": thread_list,
    "ThreadExecutor, stream": thread_stream,
}


@contextmanager
def a_session(contact_points: str | None) -> Iterator[Any]:
    """Connect to the cluster that is named, else to one started for this."""
    if contact_points:
        with connect(ConnectionOptions.from_environment(contact_points=contact_points)) as session:
            yield session
        return
    with LocalCassandra() as cassandra:
        options = ConnectionOptions(tuple(cassandra.contact_points), cassandra.port)
        with connect(options) as session:
            yield session


def measure(way: Way, session: Any, insert: Any, count: int) -> tuple[float, float]:
    """Return the CPU microseconds a statement and the statements per second of one go."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    way(session, insert, count)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / count * 1e6, count / wall


def weigh(way: Way, session: Any, insert: Any, count: int) -> float:
    """Return the bytes a statement that the list of results holds."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = way(session, insert, count)
    gc.collect()
    weight = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del held
    return weight / count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contact-points", help="a cluster of your own: host[:port],...")
    parser.add_argument("--statements", type=int, default=20_000, help="a go (20,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way goes (5)")
    arguments = parser.parse_args()
    with a_session(arguments.contact_points) as session:
        session.execute(
            "CREATE KEYSPACE IF NOT EXISTS perf WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute("CREATE TABLE IF NOT EXISTS perf.pairs (key int PRIMARY KEY, value text)")
        insert = session.prepare("INSERT INTO perf.pairs (key, value) VALUES (?, ?)")
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for turn in range(-1, arguments.rounds):  # the first round warms up
            for name, way in WAYS.items():
                figure = measure(way, session, insert, arguments.statements)
                if turn >= 0:
                    figures[name].append(figure)
        print(f"{'way':28} {'CPU us/statement':>17} {'of helper':>10} {'statements/s':>13}")
        base = figures["drivers' helper, list"]
        for name, goes in figures.items():
            cpu = statistics.median(go[0] for go in goes)
            ratio = statistics.median(
                go[0] / first[0] for go, first in zip(goes, base, strict=True)
            )
            rate = statistics.median(go[1] for go in goes)
            print(f"{name:28} {cpu:17.1f} {ratio:10.2f} {rate:13,.0f}")
        print("\nbytes a statement that a list of results holds:")
        for name in ("drivers' helper, list", "CallbackExecutor, list", "ThreadExecutor, list"):
            print(f"{name:28} {weigh(WAYS[name], session, insert, 5_000):17,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
