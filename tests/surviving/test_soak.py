"""A long run and many short ones: memory, threads and descriptors stay what they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.connect import ConnectionOptions
from tests.conftest import PROOF
from tests.executors import IN_ONE_PROCESS
from tests.surviving import soak
from tests.surviving.cycles import in_cycles
from tests.surviving.support import Ledger, Record, environment_for, watched

STATEMENTS = 1_000_000 if PROOF else 10_000
SECONDS = 1_200 if PROOF else 2
"""How long a real session is soaked."""
PATIENCE = 3_000 if PROOF else 300
"""Seconds in which one must be done; a hang is a failure."""

pytestmark = pytest.mark.timeout(len(IN_ONE_PROCESS) * PATIENCE)

WINDOW = (soak.BUFFERSIZE + soak.CONCURRENCY) * 30
"""Blocks of memory of as many statements as a stream may have under way: each has some 20."""
MOST_BLOCKS = {
    "scripted": {"stream": WINDOW, "pauses": 20, "rounds": 250},
    "real": {"stream": WINDOW, "pauses": 150, "rounds": 250},
}
"""How many more blocks of memory there may be in the end. Each series has thousands of statements.
In a stream's midst it is chance how many of them are under way; in its pauses none is, nor between
the rounds, which have hundreds of runs. With a script the pauses mostly differ by no block at all;
a driver has work of its own."""
MOST_BYTES = 4_000_000
"""How much more memory there may be by the system's count, which is a coarse one."""


@dataclass(frozen=True)
class Growth:
    """What a series of samples began and ended with, its first ones left out as warming up."""

    series: str
    first: dict[str, int]
    last: dict[str, int]

    @classmethod
    def of(cls, series: str, samples: list[dict[str, int]]) -> Growth:
        """Return the least of some samples at either end, since what is in flight goes up and down.

        Of threads the most: those with nothing to do end, and start again.
        """
        few = len(samples) // 5

        def ends(some: list[dict[str, int]]) -> dict[str, int]:
            return {
                name: (max if name == "threads" else min)(each[name] for each in some)
                for name in ("blocks", "resident", "threads", "descriptors")
            }

        return cls(series, ends(samples[few : 2 * few]), ends(samples[-few:]))

    def __getitem__(self, name: str) -> int:
        return self.last[name] - self.first[name]

    def __str__(self) -> str:
        return ", ".join(f"{name} {now:,} ({self[name]:+,})" for name, now in self.last.items())


def soaked(
    name: str, kind: str, *arguments: object, environment: dict[str, str], record: Record
) -> None:
    """Have a process of its own do the work, and judge its samples."""
    with (
        subprocess.Popen(
            [sys.executable, "-m", soak.__name__, name, kind, *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        watched(process, PATIENCE),
    ):
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
    *samples, end = lines
    growths = [
        Growth.of(series, [each for each in samples if each["series"] == series])
        for series in MOST_BLOCKS[kind]
    ]
    record("statements", f"{end['statements']:,} in {end['seconds']:,.0f} s")
    for growth in growths:
        record(growth.series, growth)
    record("objects in cycles", end["in_cycles"] or "none")
    for growth in growths:
        assert growth["blocks"] < MOST_BLOCKS[kind][growth.series], growth
        assert growth["resident"] < MOST_BYTES, growth
        assert growth["threads"] <= 0, growth
        assert growth["descriptors"] <= 0, growth
    # A driver has cycles of its own, so that only their classes tell ours; the script has none.
    classes = end["in_cycles"]
    if kind == "real":
        classes = [name for name in classes if name.startswith("concurrent_exec")]
    assert not classes


def all_soaked(
    kind: str,
    arguments: Callable[[str], tuple[object, ...]],
    workers: int,
    environment: dict[str, str],
    record: Record,
) -> None:
    """Soak every executor, so many side by side; `arguments` is given the name of each."""

    def soak_of(name: str) -> None:
        def record_of(what: str, figure: object) -> None:
            record(f"{name}: {what}", figure)

        soaked(name, kind, *arguments(name), environment=environment, record=record_of)

    with ThreadPoolExecutor(workers) as pool:
        ended = [pool.submit(soak_of, name) for name in IN_ONE_PROCESS]
    for each in ended:
        each.result()


def test_a_scripted_session(record_property: Record) -> None:
    """As many side by side as there are processors, as it is those that they need."""
    workers = os.cpu_count() or 1
    environment = environment_for(None)
    all_soaked("scripted", lambda name: (STATEMENTS,), workers, environment, record_property)


@pytest.mark.cluster
def test_a_real_session(
    cassandra: ConnectionOptions, session: Any, keyspace: str, record_property: Record
) -> None:
    """All side by side: it is time that they need."""
    tables = {name: f"{keyspace}.rows_of_soak_{name}" for name in IN_ONE_PROCESS}
    for table in tables.values():
        Ledger.create(session, table)
    all_soaked(
        "real",
        lambda name: (SECONDS, tables[name]),
        len(IN_ONE_PROCESS),
        environment_for(cassandra),
        record_property,
    )


def test_a_cycle_is_told_from_what_it_holds() -> None:
    """The measure itself: else an empty answer would say nothing."""
    held: list[Any] = []
    first: list[Any] = [held]
    second = [first]
    first.append(second)
    itself: list[Any] = []
    itself.append(itself)
    holder = [first]
    found = in_cycles([holder, held, first, second, itself])
    assert sorted(map(id, found)) == sorted(map(id, [first, second, itself]))
    first.clear()
    itself.clear()
