"""The steps of the job: make the table, load it, count its rows, read a sample back."""

from __future__ import annotations

import random
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import compress
from typing import Any, TypeAlias

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.query import SimpleStatement, tuple_factory
from tqdm import tqdm

from concurrent_exec import CallbackExecutor, ExecutionResult, Executor, ThreadExecutor
from concurrent_exec.comparing.measuring import TimedSession
from concurrent_exec.comparing.memory import PeakMemory

from . import table
from .data import Flight, Flights
from .measure import Phase

STRATEGIES: dict[str, type[Executor[Any]]] = {
    "callback": CallbackExecutor,
    "thread": ThreadExecutor,
}

_MOST_FAILURES = 100
"""A phase that has as many is given up: the cluster is gone, or refuses everything."""

_SCHEMA_TIMEOUT = 60.0

# Given the answer of a statement that succeeded, or None; returns how many rows it is about, and
# in words what is wrong with it.
_Check: TypeAlias = Callable[[Any], tuple[int, str | None]]


class GivenUpError(Exception):
    """Too much has failed; `phase` is how far it went."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase = phase

    def __str__(self) -> str:
        return f"{self.phase.what} given up after {self.phase.failed} failures"


@contextmanager
def temporary_table(session: Any, keyspace: str) -> Iterator[None]:
    """Make `keyspace` and the table in it; drop them at the end of the block.

    Raises what the driver raises, AlreadyExists if the keyspace is there: it is somebody's.
    """
    session.execute(
        f'CREATE KEYSPACE "{keyspace}" WITH replication = '
        "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}",
        timeout=_SCHEMA_TIMEOUT,
    )
    try:
        session.execute(table.create_table(keyspace), timeout=_SCHEMA_TIMEOUT)
        yield
    finally:
        session.execute(f'DROP KEYSPACE "{keyspace}"', timeout=_SCHEMA_TIMEOUT)


def partition_sizes(flights: Flights) -> Counter[table.Partition]:
    """Return how many of `flights` each partition must hold."""
    return Counter(map(table.partition, flights))


def sample_of(flights: Flights, total: int, size: int) -> Flights:
    """Yield `size` of the `total` flights, drawn at random but always the same, in their order."""
    chosen = bytearray(total)
    for index in random.Random(2013).sample(range(total), size):
        chosen[index] = 1
    return compress(flights, chosen)


def load(
    session: Any, keyspace: str, flights: Flights, total: int, concurrency: int | None = None
) -> Phase:
    """Write all `flights`, `total` in number, through CallbackExecutor.

    concurrency: by default the executor's own, here and below. Raises GivenUpError, here and below.
    """
    return _run(
        Phase("callback", "load"),
        session,
        session.prepare(table.insert(keyspace)),
        map(table.values, flights),
        lambda answer: (1, None),
        total,
        concurrency,
    )


def count(
    session: Any,
    keyspace: str,
    expected: Counter[table.Partition],
    concurrency: int | None = None,
) -> Phase:
    """Count the rows of every partition in the table, and compare with what is `expected`.

    The partitions are those that the table has, page by page, and not those that are expected:
    one too many is noticed too.
    """
    partitions = SimpleStatement(table.select_partitions(keyspace), fetch_size=500)
    found: Counter[table.Partition] = Counter()

    def check(answer: Any) -> tuple[int, str | None]:
        if answer is None:
            return 0, None
        origin, day, rows = answer.one()
        found[origin, day.date()] = rows
        return rows, None

    phase = _run(
        Phase("callback", "count"),
        session,
        session.prepare(table.count_partition(keyspace)),
        # The input of a run may itself query the session.
        (tuple(row) for row in session.execute(partitions)),
        check,
        len(expected),
        concurrency,
    )
    for partition in sorted(expected.keys() | found.keys()):
        if found[partition] != expected[partition]:
            phase.wrong += 1
            phase.complain(
                f"partition {partition[0]} {partition[1]}: rows are {found[partition]}, "
                f"in the file {expected[partition]}"
            )
    return phase


def read(
    session: Any,
    keyspace: str,
    flights: Flights,
    total: int,
    strategy: str,
    concurrency: int | None = None,
) -> Phase:
    """Read each of `flights`, `total` in number, by its key; compare every value with the file's.

    strategy: one of STRATEGIES. The results come in the order of the input, so the oldest flight
    not yet compared is the one that the next result must be: a result out of order is noticed.
    """
    sent: deque[Flight] = deque()

    def keys() -> Iterator[tuple[Any, ...]]:
        for flight in flights:
            sent.append(flight)
            yield table.key(flight)

    def check(answer: Any) -> tuple[int, str | None]:
        flight = sent.popleft()
        if answer is None:
            return 0, None
        rows = list(answer)
        return len(rows), table.difference(flight, rows)

    return _run(
        Phase(strategy, "read"),
        session,
        session.prepare(table.select(keyspace)),
        keys(),
        check,
        total,
        concurrency,
    )


def _run(
    phase: Phase,
    driver_session: Any,
    statement: Any,
    parameters: Iterable[Any],
    check: _Check,
    total: int,
    concurrency: int | None,
) -> Phase:
    """Run `statement` with all `parameters`, `check` every answer; return the completed `phase`."""
    memory = PeakMemory()
    # The driver's default makes a class of named tuples anew for each answer: several times the
    # cost of all the rest of reading one row.
    plain = driver_session.execution_profile_clone_update(
        EXEC_PROFILE_DEFAULT, row_factory=tuple_factory
    )
    seconds = array("d")
    session = TimedSession(driver_session, seconds.append)
    options: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}
    with (
        STRATEGIES[phase.strategy](session, **options) as executor,
        executor.map(
            statement, parameters, raise_on_first_error=False, execution_profile=plain
        ) as results,
    ):
        label = f"{phase.what} ({phase.strategy})"
        # disable=None: no bar where there is no terminal.
        with tqdm(results, label, total, leave=False, disable=None, unit_scale=True) as bar:
            for result in bar:
                _take(phase, result, check)
                if phase.failed >= _MOST_FAILURES:
                    break
        phase.seconds = results.statistics().elapsed
    phase.peak_mb, phase.peak_is_own = memory.bytes() / 1_000_000, memory.is_own
    phase.set_times(seconds)
    if phase.failed >= _MOST_FAILURES:
        raise GivenUpError(phase)
    return phase


def _take(phase: Phase, result: ExecutionResult[Any], check: _Check) -> None:
    phase.statements += 1
    rows, wrong = check(result.result_or_exc if result.success else None)
    phase.rows += rows
    if result.failure is not None:
        phase.failed += 1
        phase.complain(
            f"statement {result.failure.index} failed: "
            f"{type(result.result_or_exc).__name__}: {result.result_or_exc}"
        )
    elif wrong is not None:
        phase.wrong += 1
        phase.complain(wrong)
