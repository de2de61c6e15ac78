"""Which strategy, and how many at once? Measure on your own statement, and then do as it says.

    python -m examples.load_csv
    python -m examples.compare

Reads by key are measured with each strategy at several concurrencies; then all keys are read with
the one that is recommended.
"""

from __future__ import annotations

import sys
from itertools import islice

from concurrent_exec import compare
from concurrent_exec.connect import connect
from concurrent_exec.executors import STRATEGIES
from demo.data import read_flights
from examples.flights import KEY_IS, TABLE, key_of


def main(most: int = 20_000, rounds: int = 3) -> None:
    keys = [key_of(flight) for flight in read_flights(most)]
    with connect() as session:
        select = session.prepare(f"SELECT dest FROM {TABLE} WHERE {KEY_IS}")
        measured = compare(
            session,
            select,
            islice(keys, 2_000),
            concurrencies=[10, 50, 100],
            statements_per_go=min(most, 2_000),
            rounds=rounds,
        )
        advice = measured.recommendation
        if advice is None:
            sys.exit("every way had failures: nothing to recommend")
        make = STRATEGIES[advice.executor]
        with make(session, concurrency=advice.concurrency) as executor:
            answers = (result.unwrap() for result in executor.map(select, keys))
            found = sum(answer.one() is not None for answer in answers)
    print(f"{found:,} of {len(keys):,} flights read by {advice.executor} at {advice.concurrency}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
