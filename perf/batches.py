"""BatchExecutor beside the drivers' helper, on the real Cassandra.

Two tables: one has a row a partition, which `batch_mode="replica_set"` puts together; the other
50 rows a partition, which "partition_key" does. Every way inserts the same rows with the same
prepared statement, in turn, several times over; ratios are to the helper within the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import cassandra.concurrent as helper

from concurrent_exec import BatchExecutor, CallbackExecutor
from perf.core import a_session, measure

HELPER = "drivers' helper"
ROWS = {"one row": 1, "50 rows": 50}


def parameters(count: int, rows: int) -> list[tuple[int, int, str]]:
    """Return the parameters of `count` inserts, with `rows` of each partition."""
    return [(number // rows, number % rows, f"value {number}") for number in range(count)]


def by_helper(session: Any, insert: Any, given: list[Any]) -> object:
    return helper.execute_concurrent_with_args(session, insert, given, 100)


def by_callbacks(session: Any, insert: Any, given: list[Any]) -> object:
    with CallbackExecutor(session) as executor:
        return executor.map(insert, given).all()


def by_batches(session: Any, insert: Any, given: list[Any], **options: Any) -> object:
    with BatchExecutor(session, **options) as executor:
        return executor.map(insert, given).all()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contact-points", help="a cluster of your own: host[:port],...")
    parser.add_argument("--statements", type=int, default=20_000, help="a go (20,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way goes (5)")
    parser.add_argument(
        "--most", type=int, nargs="*", default=[100], help="max_batch_statements (100)"
    )
    arguments = parser.parse_args()
    ways: dict[str, Any] = {HELPER: (by_helper, {}), "CallbackExecutor": (by_callbacks, {})}
    for most in arguments.most:
        for mode in ("partition_key", "replica_set"):
            options = {"batch_mode": mode, "max_batch_statements": most}
            ways[f"{mode}, up to {most}"] = (by_batches, options)
    with a_session(arguments.contact_points) as session:
        session.execute(
            "CREATE KEYSPACE IF NOT EXISTS perf WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        for number, (title, rows) in enumerate(ROWS.items()):
            table = f"perf.batches_{number}"
            session.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (part int, row int, value text, "
                "PRIMARY KEY (part, row))"
            )
            insert = session.prepare(f"INSERT INTO {table} (part, row, value) VALUES (?, ?, ?)")
            insert.is_idempotent = True
            given = parameters(arguments.statements, rows)
            figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for turn in range(-1, arguments.rounds):  # the first round warms up
                for name, (way, options) in ways.items():

                    def go(session: Any, insert: Any, count: int) -> object:
                        return way(session, insert, given, **options)  # noqa: B023

                    figure = measure(go, session, insert, arguments.statements)
                    if turn >= 0:
                        figures[name].append(figure)
            report(f"{title} a partition", figures)
    return 0


def report(title: str, figures: dict[str, list[tuple[float, float]]]) -> None:
    print(f"\n{title:28} {'CPU us/statement':>17} {'statements/s':>13} {'of helper':>10}  (all)")
    for name, goes in figures.items():
        cpu = statistics.median(go[0] for go in goes)
        rate = statistics.median(go[1] for go in goes)
        ratios = [go[1] / first[1] for go, first in zip(goes, figures[HELPER], strict=True)]
        spread = " ".join(f"{ratio:.1f}" for ratio in sorted(ratios))
        print(f"{name:28} {cpu:17.1f} {rate:13,.0f} {statistics.median(ratios):10.2f}  ({spread})")


if __name__ == "__main__":
    sys.exit(main())
