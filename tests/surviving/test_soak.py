"""A long run and many short ones: memory, threads and descriptors stay what they were."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.connect import ConnectionOptions
from tests.conftest import PROOF
from tests.executors import EXECUTORS
from tests.surviving import soak
from tests.surviving.cycles import in_cycles
from tests.surviving.support import Ledger, Record, environment_for, watched

STATEMENTS = 1_000_000 if PROOF else 20_000
SECONDS = 1_200 if PROOF else 10
PATIENCE = 1_700 if PROOF else 110
"""Seconds in which it must be done; a hang is a failure."""

MOST_BLOCKS = {"stream": 500, "rounds": 250}
"""How many more blocks of memory there may be in the end. A stream has thousands of statements,
and when it is sampled some dozens are in flight; the rounds have hundreds of runs, and none."""
MOST_BYTES = 4_000_000
"""How much more memory there may be by the system's count, which is a coarse one."""

any_name = pytest.mark.parametrize("name", EXECUTORS)


@dataclass(frozen=True)
class Growth:
    """What a half of the soak began and ended with, its first samples left out as warming up."""

    half: str
    first: dict[str, int]
    last: dict[str, int]

    @classmethod
    def of(cls, half: str, samples: list[dict[str, int]]) -> Growth:
        """Return the least of some samples at either end, since what is in flight goes up and down.

        Of threads the most: those with nothing to do end, and start again.
        """
        few = len(samples) // 5

        def ends(some: list[dict[str, int]]) -> dict[str, int]:
            return {
                name: (max if name == "threads" else min)(each[name] for each in some)
                for name in ("blocks", "resident", "threads", "descriptors")
            }

        return cls(half, ends(samples[few : 2 * few]), ends(samples[-few:]))

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
        Growth.of(half, list(group)) for half, group in groupby(samples, lambda each: each["half"])
    ]
    assert [each.half for each in growths] == ["stream", "rounds"]
    record("statements", f"{end['statements']:,} in {end['seconds']:,.0f} s")
    for growth in growths:
        record(growth.half, growth)
    record("objects in cycles", end["in_cycles"] or "none")
    for growth in growths:
        assert growth["blocks"] < MOST_BLOCKS[growth.half], growth
        assert growth["resident"] < MOST_BYTES, growth
        assert growth["threads"] <= 0, growth
        assert growth["descriptors"] <= 0, growth
    # A driver has cycles of its own, so that only their classes tell ours; the script has none.
    classes = end["in_cycles"]
    if kind == "real":
        classes = [name for name in classes if name.startswith("concurrent_exec")]
    assert not classes


@any_name
def test_a_scripted_session(name: str, record_property: Record) -> None:
    soaked(name, "scripted", STATEMENTS, environment=environment_for(None), record=record_property)


@pytest.mark.cluster
@any_name
def test_a_real_session(
    name: str, cassandra: ConnectionOptions, session: Any, keyspace: str, record_property: Record
) -> None:
    table = f"{keyspace}.rows_of_soak_{name}"
    Ledger.create(session, table)
    environment = environment_for(cassandra)
    soaked(name, "real", SECONDS, table, environment=environment, record=record_property)


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
