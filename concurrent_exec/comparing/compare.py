"""Plays strategies and concurrencies on the user's own statements."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from itertools import cycle, islice
from typing import Any, Unpack

from concurrent_exec.comparing.comparison import Comparison
from concurrent_exec.comparing.measuring import (
    TIMED_AT_MOST,
    Note,
    Play,
    limit_or_timing,
    play_in_turn,
)
from concurrent_exec.comparing.row import Row
from concurrent_exec.executors import STRATEGIES, Executor, fitting
from concurrent_exec.model import Session, SubmitOptions
from concurrent_exec.model.options import one_of, positive_int
from concurrent_exec.model.settings import refuse_unknown
from concurrent_exec.model.statement import short_text
from concurrent_exec.retry.statements import (
    is_conditional,
    is_counter_update,
    is_idempotent,
    is_read,
)
from concurrent_exec.run import Results, Source

MakeExecutor = Callable[..., Executor[Any]]
"""Called with a session and `concurrency=`, returns a new executor."""

CONCURRENCIES = (10, 30, 100, 300, 1000)
MOST_THREADS = 100
"""The highest of `CONCURRENCIES` that "thread" is tried with: it has a thread for each."""

_WARM_UP = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """What is about to be played."""

    executor: str
    concurrency: int
    round: int
    """From 1; 0 while warming up."""
    rounds: int
    done: int
    """Turns that are over, of `total`."""
    total: int


def compare(
    session: Session[Any],
    statements: Any,
    parameters: Iterable[Any] | None = None,
    *,
    executors: Sequence[str] | Mapping[str, MakeExecutor] | None = None,
    concurrencies: Sequence[int] | None = None,
    statements_per_go: int = 10_000,
    rounds: int = 3,
    report: Callable[[Progress], object] = lambda progress: None,
    **options: Unpack[SubmitOptions],
) -> Comparison:
    """Measure strategies side by side on your statements and your cluster.

    **It executes the statements**, each many times over: all of them in each go, a go for each
    executor at each concurrency to warm up, and two in each round. Writes do write.

    statements: an iterable of (statement, parameters) pairs; or one statement, where `parameters`
        is given: an iterable with the parameters of each execution. As many as a go needs are
        pulled, once; if there are fewer, they are executed again within a go.
    executors: names, or a mapping of names of yours to what makes an executor, such as
        `{"mine": functools.partial(CallbackExecutor, retry=Retry())}`. By default all that fit
        the session and change nothing but the speed.
    concurrencies: how many in flight to try. By default those of `CONCURRENCIES` that a go has
        enough statements for, of which "thread" is tried with no more than `MOST_THREADS`.
    statements_per_go: how many statements each executor at each concurrency runs at a time.
    rounds: how often each is measured; medians and spreads are over these.
    report: told before each turn what comes.
    options: given to the executors, as in `Executor.submit`. `assume_idempotent=True` is the yes
        to execute statements many times that are neither SELECTs nor marked `is_idempotent`, and
        lightweight transactions and counter updates, whatever they are marked.

    Raises TypeError or ValueError naming an argument that is wrong, ValueError for a statement
    that must not be executed many times, InvalidItemError for an item that is not a pair, what an
    iterable raises, and what the first statement fails with, before anything is measured.
    """
    refuse_unknown(options, SubmitOptions)
    count = positive_int("statements_per_go", statements_per_go)
    positive_int("rounds", rounds)
    pairs = _pull(statements, parameters, count)
    statement = None if parameters is None else statements
    ways = _ways(session, statement, executors, concurrencies, count)
    turns = rounds + _WARM_UP
    if not options.get("assume_idempotent", False):
        times = _WARM_UP * count + rounds * (count + min(count, TIMED_AT_MOST))
        _refuse_unsafe(pairs, -(-len(ways) * times // len(pairs)))
    _try_one(session, next(iter(ways.values())), pairs[0], options)

    sample = _Sample(statement, pairs, count, options)
    errors: dict[tuple[str, int], Counter[str]] = {way: Counter() for way in ways}
    plays: dict[tuple[str, int], Play] = {
        way: partial(_play, session, make, way[1], sample, errors[way])
        for way, make in ways.items()
    }
    numbers = iter(range(turns * len(ways)))

    def tell(turn: int, way: tuple[str, int]) -> None:
        number, total = next(numbers), turns * len(ways)
        report(Progress(way[0], way[1], turn + 1, rounds, number, total))

    goes = play_in_turn(
        plays, statements=count, rounds=rounds, warm_up=_WARM_UP, timed=True, report=tell
    )
    return Comparison(
        statement=_title(pairs),
        statements_per_go=count,
        rounds=rounds,
        environment=_environment(),
        rows=tuple(Row.of(*way, goes[way], errors[way]) for way in ways),
    )


def _pull(statements: Any, parameters: Iterable[Any] | None, count: int) -> list[tuple[Any, Any]]:
    """Return the first `count` pairs, or all where there are fewer."""
    if parameters is not None:
        source = Source.of_parameters(statements, parameters)
    else:
        try:
            source = Source.of_pairs(statements)
        except TypeError:
            raise TypeError(
                "statements must be an iterable of (statement, parameters) pairs, or one "
                f"statement with parameters given, not {type(statements).__name__} alone"
            ) from None
    items = source.iterator if source.items is None else source.items
    assert items is not None
    pairs = [source.pair(index, item) for index, item in enumerate(islice(items, count))]
    if not pairs:
        name = "statements" if parameters is None else "parameters"
        raise ValueError(f"{name} must have at least one item, not none")
    return pairs


def _ways(
    session: Session[Any],
    statement: Any,
    executors: Sequence[str] | Mapping[str, MakeExecutor] | None,
    concurrencies: Sequence[int] | None,
    count: int,
) -> dict[tuple[str, int], MakeExecutor]:
    """Return what makes the executor of each (name, concurrency)."""
    if executors is None:
        executors = [choice.name for choice in fitting(session, statement)]
    if isinstance(executors, str):
        raise TypeError("executors must be a sequence of names, or a mapping, not a text")
    makes: dict[str, MakeExecutor] = (
        dict(executors)
        if isinstance(executors, Mapping)
        else {name: STRATEGIES[one_of("executors", name, tuple(STRATEGIES))] for name in executors}
    )
    if concurrencies is None:
        lowest, *others = CONCURRENCIES
        levels: tuple[int, ...] = (lowest, *(level for level in others if level <= count))
    else:
        levels = tuple(sorted(set(concurrencies)))
    for name, values in (("executors", makes), ("concurrencies", levels)):
        if not values:
            raise ValueError(f"{name} must have at least one item, not none")
    for level in levels:
        positive_int("concurrencies", level)
    return {
        (name, level): make
        for name, make in makes.items()
        for level in levels
        if concurrencies is not None or make is not STRATEGIES["thread"] or level <= MOST_THREADS
    }


def may_be_repeated(statement: Any) -> bool:
    """Return whether executing it many times is known to be harmless.

    So it is for a SELECT, and for what its author has marked `is_idempotent`, but for lightweight
    transactions and counter updates: those no mark makes harmless.
    """
    return is_read(statement) or (
        is_idempotent(statement)
        and not is_conditional(statement)
        and not is_counter_update(statement)
    )


def _refuse_unsafe(pairs: list[tuple[Any, Any]], times: int) -> None:
    known: dict[int, bool] = {}  # most inputs have few statements, with many parameters
    for index, (statement, _) in enumerate(pairs):
        if id(statement) not in known:
            known[id(statement)] = may_be_repeated(statement)
        if not known[id(statement)]:
            raise ValueError(
                f"statement {index} would be executed some {times:,} times, and is not known to be "
                "harmless: it is no SELECT, nor is it marked is_idempotent (a mark which does not "
                "count for lightweight transactions and counters). Give assume_idempotent=True if "
                f"that is what you want: {short_text(statement)}"
            )


def _try_one(
    session: Session[Any], make: MakeExecutor, pair: tuple[Any, Any], options: SubmitOptions
) -> None:
    """Raise now what would fail a hundred thousand times."""
    with make(session, concurrency=1) as executor:
        executor.submit(*pair, **options).result()


class _Sample:
    """The statements of a go."""

    def __init__(
        self, statement: Any, pairs: list[tuple[Any, Any]], count: int, options: SubmitOptions
    ) -> None:
        """Take `pairs` over and over, `count` in all; `statement` is that of each, if any."""
        self._statement = statement
        items = pairs if statement is None else [parameters for _, parameters in pairs]
        self._items: list[Any] = list(islice(cycle(items), count))
        self._options = options

    def start(self, executor: Executor[Any], count: int) -> Results[Any]:
        """Start to run the first `count`."""
        items = self._items if count == len(self._items) else self._items[:count]
        if self._statement is None:
            return executor.execute(items, raise_on_first_error=False, **self._options)
        return executor.map(self._statement, items, raise_on_first_error=False, **self._options)


def _play(
    session: Session[Any],
    make: MakeExecutor,
    level: int,
    sample: _Sample,
    errors: Counter[str],
    count: int,
    note: Note | None,
) -> int:
    failed = 0
    with make(session, concurrency=limit_or_timing(level, note)) as executor:
        for result in sample.start(executor, count):
            if not result.success:
                failed += 1
                errors[type(result.result_or_exc).__name__] += 1
    return failed


def _title(pairs: list[tuple[Any, Any]]) -> str:
    texts = {short_text(statement) for statement, _ in pairs}
    return texts.pop() if len(texts) == 1 else f"{len(texts):,} different statements"


def _environment() -> dict[str, str]:
    found = {}
    for name in ("concurrent-exec", "cassandra-driver", "scylla-driver"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return {
        **found,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
