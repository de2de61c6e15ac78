"""Comparing strategies: what is executed, what is refused, what is found and how it is shown."""

from __future__ import annotations

import builtins
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from itertools import count
from typing import Any
from xml.etree import ElementTree

import pytest
from cassandra.query import SimpleStatement

from concurrent_exec import (
    CallbackExecutor,
    Comparison,
    InvalidItemError,
    ThreadExecutor,
    compare,
)
from concurrent_exec.comparing import Progress, Row, Spread, may_be_repeated
from concurrent_exec.comparing.choosing import RULE
from concurrent_exec.comparing.compare import CONCURRENCIES, MOST_THREADS
from concurrent_exec.testing import Reply, ScriptedSession

READ = "SELECT v FROM t WHERE k = ?"
WRITE = "INSERT INTO t (k, v) VALUES (?, ?)"


def at_once() -> ScriptedSession:
    return ScriptedSession(lambda statement, parameters: Reply(at_once=True))


class Recording:
    """A session that answers at once and keeps what was sent."""

    def __init__(self, answer: Callable[[Any], Reply] = lambda _: Reply(at_once=True)) -> None:
        self.sent: list[tuple[Any, Any, dict[str, Any]]] = []
        self._session = ScriptedSession(lambda statement, parameters: answer(parameters))

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        self.sent.append((query, parameters, options))
        return self._session.execute_async(query, parameters, **options)

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        return self.execute_async(query, parameters, **options).result()


def row(
    executor: str,
    concurrency: int,
    rate: float,
    *,
    cpu: float = 50.0,
    failed: int = 0,
    deviation: float = 0.0,
) -> Row:
    def spread(value: float) -> Spread:
        return Spread(value, value, value)

    return Row(
        executor=executor,
        concurrency=concurrency,
        statements=300,
        failed=failed,
        errors={"OperationTimedOut": failed} if failed else {},
        rate=Spread(rate, rate * (1 - deviation), rate),
        cpu_us=spread(cpu),
        p50_ms=spread(concurrency / 10),
        p99_ms=spread(concurrency / 2),
        p999_ms=spread(float(concurrency)),
        peak_mb=spread(80.0),
    )


def comparison(*rows: Row, statement: str = READ) -> Comparison:
    return Comparison(statement, 100, 3, {"Python": "3.11"}, rows)


PLAIN = comparison(
    row("callback", 10, 1000, cpu=60),
    row("callback", 100, 5000, cpu=61),
    row("callback", 300, 5100, cpu=62),
    row("thread", 10, 900, cpu=90),
    row("thread", 100, 2000, cpu=91),
)


# ---- what is executed ----


def test_every_way_runs_the_statements_as_often_as_is_said() -> None:
    session = Recording()
    found = compare(
        session,
        READ,
        ((number,) for number in range(3)),
        concurrencies=[7, 2],
        statements_per_go=5,
        rounds=2,
    )
    # One by trial; two executors at two levels: 5 to warm up, and 5 + 5 timed in each round.
    assert len(session.sent) == 1 + 4 * (5 + 2 * (5 + 5))
    assert session.sent[0] == (READ, (0,), {})
    callback = session.sent[1:]
    assert {query for query, _, _ in callback} == {READ}
    times = dict.fromkeys(range(3), 0)
    for _, parameters, _ in callback:
        times[parameters[0]] += 1
    assert times == {0: 40, 1: 40, 2: 20}  # of each go's five: 0, 1, 2, 0, 1
    assert [(each.executor, each.concurrency) for each in found.rows] == [
        ("callback", 2),
        ("callback", 7),
        ("thread", 2),
        ("thread", 7),
    ]
    assert all(each.statements == 10 and each.failed == 0 for each in found.rows)
    assert all(each.rate.median > 0 and each.p999_ms is not None for each in found.rows)
    assert (found.statement, found.statements_per_go, found.rounds) == (READ, 5, 2)
    assert {"concurrent-exec", "Python", "processors"} <= found.environment.keys()
    assert any(name.endswith("-driver") for name in found.environment)


def test_pairs_are_run_as_pairs_and_no_more_is_pulled_than_a_go_needs() -> None:
    session = Recording()
    numbers = count()
    pairs = ((f"SELECT {number % 2}", (number,)) for number in numbers)
    found = compare(
        session, pairs, executors=["callback"], concurrencies=[3], statements_per_go=4, rounds=1
    )
    assert next(numbers) == 4
    assert sorted(session.sent[1:5], key=lambda each: each[1]) == [
        (f"SELECT {number % 2}", (number,), {}) for number in range(4)
    ]
    assert found.statement == "2 different statements"


@pytest.mark.parametrize("statements", [(READ, [(1,)]), ([(READ, (1,))],)])
def test_options_go_to_the_session_and_the_levels_to_the_executors(
    statements: tuple[Any, ...],
) -> None:
    most: dict[int, int] = {}

    class Bounded(CallbackExecutor[Any]):
        def __init__(self, session: Any, *, concurrency: Any) -> None:
            super().__init__(session, concurrency=concurrency)
            limit = getattr(concurrency, "limit", concurrency)
            most[limit] = max(most.get(limit, 0), self.concurrency)

    session = Recording()
    found = compare(
        session,
        *statements,
        executors={"mine": Bounded},
        concurrencies=[4, 4, 9],
        statements_per_go=2,
        rounds=1,
        timeout=3.0,
        execution_profile="mine",
    )
    assert most == {1: 1, 4: 4, 9: 9}
    assert all(
        options == {"timeout": 3.0, "execution_profile": "mine"} for _, _, options in session.sent
    )
    assert [each.executor for each in found.rows] == ["mine", "mine"]


def test_what_fits_is_tried_by_default_with_threads_bounded() -> None:
    found = compare(at_once(), READ, [(1,)], statements_per_go=CONCURRENCIES[-1], rounds=1)
    levels: dict[str, list[int]] = {}
    for each in found.rows:
        levels.setdefault(each.executor, []).append(each.concurrency)
    assert levels == {
        "callback": list(CONCURRENCIES),
        "thread": [level for level in CONCURRENCIES if level <= MOST_THREADS],
    }


def test_no_more_in_flight_is_tried_by_default_than_there_are_statements() -> None:
    found = compare(at_once(), READ, [(1,)], statements_per_go=150, rounds=1)
    levels = {each.concurrency for each in found.rows}
    assert levels == {level for level in CONCURRENCIES if level <= 150}
    few = compare(at_once(), READ, [(1,)], statements_per_go=1, rounds=1)
    assert {each.concurrency for each in few.rows} == {CONCURRENCIES[0]}


def test_levels_that_are_named_hold_for_threads_too() -> None:
    found = compare(
        at_once(),
        READ,
        [(1,)],
        executors=["thread"],
        concurrencies=[200],
        rounds=1,
        statements_per_go=1,
    )
    assert [each.concurrency for each in found.rows] == [200]


def test_a_session_that_only_blocks_gets_threads_only() -> None:
    class Blocking:
        def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
            return None

    session: Any = Blocking()
    found = compare(session, READ, [(1,)], concurrencies=[2], statements_per_go=3, rounds=1)
    (only,) = found.rows
    assert (only.executor, only.failed) == ("thread", 0)
    assert only.p50_ms is not None


def test_it_is_told_before_each_turn() -> None:
    told: list[Progress] = []
    compare(
        at_once(),
        READ,
        [(1,)],
        concurrencies=[1],
        statements_per_go=1,
        rounds=2,
        report=told.append,
    )
    assert [each.done for each in told] == list(range(6))
    assert {each.total for each in told} == {6}
    assert [each.round for each in told] == [0, 0, 1, 1, 2, 2]
    assert {(each.executor, each.concurrency) for each in told} == {("callback", 1), ("thread", 1)}


def test_failures_are_counted_by_kind() -> None:
    numbers = count()

    def answer(parameters: Any) -> Reply:
        if next(numbers) and parameters == (2,):  # the first of all is the trial
            return Reply(error=TimeoutError("late"), at_once=True)
        return Reply(at_once=True)

    found = compare(
        Recording(answer),
        READ,
        [(1,), (2,)],
        executors=["callback"],
        concurrencies=[1],
        statements_per_go=4,
        rounds=2,
    )
    (only,) = found.rows
    assert (only.statements, only.failed) == (8, 4)
    assert only.errors == {"TimeoutError": 10}  # with the warm-up's and the timed goes'
    assert found.recommendation is None
    assert found.verdict.endswith("statements failed in every way (TimeoutError).")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("statement", "safe"),
    [
        (READ, True),
        (WRITE, False),
        (SimpleStatement(WRITE), False),
        (SimpleStatement(WRITE, is_idempotent=True), True),
        (SimpleStatement("INSERT INTO t (k) VALUES (1) IF NOT EXISTS", is_idempotent=True), False),
        (SimpleStatement("UPDATE t SET c = c + 1 WHERE k = 1", is_idempotent=True), False),
        ("TRUNCATE t", False),
    ],
)
def test_only_what_is_known_to_be_harmless_is_repeated(statement: Any, safe: bool) -> None:
    assert may_be_repeated(statement) is safe
    session = Recording()
    small: dict[str, Any] = {"concurrencies": [1], "statements_per_go": 3, "rounds": 1}
    pairs = [(READ, (0,)), (statement, (1,))]
    if safe:
        compare(session, pairs, **small)
        return
    with pytest.raises(ValueError, match=r"^statement 1 would be executed some 9 times") as info:
        compare(session, pairs, **small)
    assert "assume_idempotent=True" in str(info.value)
    assert session.sent == []
    compare(session, pairs, **small, assume_idempotent=True)
    assert session.sent


def test_what_the_first_statement_fails_with_is_raised_at_once() -> None:
    session = Recording(lambda _: Reply(error=RuntimeError("no such table"), at_once=True))
    with pytest.raises(RuntimeError, match="no such table"):
        compare(session, READ, [(1,)])
    assert len(session.sent) == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((READ,), {}, TypeError, "statements must be an iterable of .*, not str alone"),
        ((None,), {}, TypeError, "statements must be an iterable of .*, not NoneType alone"),
        ((READ, "text"), {}, TypeError, "parameters must be an iterable of .*, not str"),
        ((None, [(1,)]), {}, TypeError, "statement must be a statement"),
        (([],), {}, ValueError, "statements must have at least one item"),
        ((READ, []), {}, ValueError, "parameters must have at least one item"),
        (([(READ, (1,)), READ],), {}, InvalidItemError, "item 1"),
        ((READ, [(1,)]), {"executors": "thread"}, TypeError, "not a text"),
        ((READ, [(1,)]), {"executors": ["threads"]}, ValueError, "executors must be one of"),
        ((READ, [(1,)]), {"executors": []}, ValueError, "executors must have at least one"),
        ((READ, [(1,)]), {"concurrencies": []}, ValueError, "concurrencies must have at least"),
        ((READ, [(1,)]), {"concurrencies": [0]}, ValueError, "concurrencies must be at least 1"),
        ((READ, [(1,)]), {"concurrencies": [True]}, TypeError, "concurrencies must be a whole"),
        ((READ, [(1,)]), {"statements_per_go": 0}, ValueError, "statements_per_go must be"),
        ((READ, [(1,)]), {"rounds": 0}, ValueError, "rounds must be at least 1"),
        ((READ, [(1,)]), {"timeout": -1}, ValueError, "timeout must be"),
        ((READ, [(1,)]), {"deadline": 1.0}, TypeError, "unexpected keyword argument 'deadline'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    session = Recording()
    with pytest.raises(error, match=said):
        compare(session, *arguments, **options)
    assert session.sent == []


# ---- which is recommended ----


def test_the_knee_is_the_lowest_level_near_the_executors_own_best() -> None:
    assert {name: each.concurrency for name, each in PLAIN.knees.items()} == {
        "callback": 100,
        "thread": 100,
    }
    chosen = PLAIN.recommendation
    assert chosen is not None
    assert (chosen.executor, chosen.concurrency) == ("callback", 100)
    assert chosen.reason == (
        "5,000 statements/s are 98% of the most that was measured (callback at 300), "
        "with a p99 of 50.0 ms instead of 150.0 ms."
    )


@pytest.mark.parametrize(("rate", "knee"), [(900, 10), (899, 100)])
def test_near_is_nine_tenths(rate: float, knee: int) -> None:
    found = comparison(row("a", 10, rate), row("a", 100, 1000), row("a", 300, 950))
    assert found.knees["a"].concurrency == knee


def test_of_executors_that_reach_as_much_the_one_with_least_cpu_is_taken() -> None:
    found = comparison(
        row("dear", 10, 1000, cpu=100),
        row("lean", 30, 920, cpu=20),
        row("lean", 100, 910, cpu=21),
        row("slow", 10, 500, cpu=1),
    )
    chosen = found.recommendation
    assert chosen is not None
    assert (chosen.executor, chosen.concurrency) == ("lean", 30)
    assert "20 us a statement instead of 100 us by dear at 10" in chosen.reason
    assert "slow" not in chosen.reason


def test_what_had_failures_is_not_recommended() -> None:
    found = comparison(row("a", 10, 100), row("a", 100, 900, failed=1), row("b", 10, 0, failed=9))
    assert list(found.knees) == ["a"]
    chosen = found.recommendation
    assert chosen is not None
    assert chosen.concurrency == 10
    assert comparison(row("a", 10, 100, failed=1)).recommendation is None


def test_the_edge_and_the_noise_are_said() -> None:
    edge = comparison(row("a", 10, 100), row("a", 100, 900)).recommendation
    assert edge is not None
    assert edge.reason.endswith("No higher concurrency was measured: one may bring more.")
    noisy = comparison(row("a", 10, 1000, deviation=0.25), row("a", 100, 900)).recommendation
    assert noisy is not None
    assert "The rounds differ by up to 25%" in noisy.reason
    calm = comparison(row("a", 10, 1000, deviation=0.05), row("a", 100, 900)).recommendation
    assert calm is not None
    assert "differ" not in calm.reason


# ---- how it is shown ----


def test_json_holds_everything_and_is_read_back() -> None:
    found = compare(at_once(), READ, [(1,)], concurrencies=[1], statements_per_go=2, rounds=1)
    assert Comparison.from_json(found.to_json()) == found
    assert Comparison.from_json(PLAIN.to_json()) == PLAIN
    held = json.loads(PLAIN.to_json())
    assert held["knees"] == {"callback": 100, "thread": 100}
    assert held["recommendation"]["concurrency"] == 100
    assert held["rows"][0]["rate"] == {"median": 1000, "low": 1000, "high": 1000}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 5}', "null"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text must be a comparison"):
        Comparison.from_json(text)


def test_the_table_has_a_line_for_each_way() -> None:
    text = PLAIN.to_text()
    lines = text.splitlines()
    assert lines[0] == READ
    (line,) = (line for line in lines if re.match(r"\s*callback\s+100 ", line))
    assert line.split() == [
        "callback",
        "100",
        "5,000",
        "±0%",
        "61",
        "±0%",
        "10.0",
        "50.0",
        "100.0",
        "80",
        "0",
        "knee",
    ]
    assert sum(line.endswith("knee") for line in lines) == 2
    assert "executor='callback', concurrency=100" in text
    assert " ".join(RULE.split()) in " ".join(text.split())
    assert max(map(len, PLAIN.to_text(width=120).splitlines())) <= 120


def test_what_has_no_times_and_no_throughput_is_shown_too() -> None:
    bare = row("a", 1, 0.0, failed=300)
    bare = Row.from_dict({**vars_of(bare), "p50_ms": None, "p99_ms": None, "p999_ms": None})
    found = comparison(bare)
    assert re.search(r"^ *a +1 +0 +50 ±0% +- +- +- +80 +300$", found.to_text(), re.MULTILINE)
    assert "OperationTimedOut 300" in found.to_html()


def vars_of(each: Row) -> dict[str, Any]:
    return {name: getattr(each, name) for name in each.__slots__}


class _Links(HTMLParser):
    """What a page would load, and whether its tags are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "xlink:href", "data", "action")
        ]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = PLAIN.to_html()
    links = _Links()
    links.feed(page)
    links.close()
    assert links.open == []
    assert all(each.startswith("#") for each in links.loaded)
    assert not links.tags & {"script", "link", "img", "iframe"}
    assert not re.search(r"url\((?!#)|@import", page)
    # What is left of addresses are the names of the two XML vocabularies, which nobody fetches.
    assert set(re.findall(r'https?://[^"\s<]+', page)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert len(page) < 100_000


def test_the_plots_have_the_lines_and_mark_the_knees() -> None:
    page = PLAIN.to_html()
    svg = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    words = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter()]
    for word in ("statements/s", "ms", "concurrency", "callback", "thread", "callback p99"):
        assert word in words
    assert words.count("knee 100") >= 2
    assert page.count('<tr class="knee">') == 2
    assert "executor=&#x27;callback&#x27;, concurrency=100" in page
    assert PLAIN.to_html() == page  # no time, no random names


def test_what_is_the_users_is_escaped() -> None:
    nasty = "SELECT '<script>' FROM $title & \"t\""
    page = comparison(row("<b>", 10, 100.0), row("<b>", 20, 99.0), statement=nasty).to_html()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "SELECT &#x27;&lt;script&gt;&#x27; FROM $title &amp; &quot;t&quot;" in page


@pytest.mark.parametrize(
    ("package", "module", "show"),
    [("rich", "text", Comparison.to_text), ("matplotlib", "page", Comparison.to_html)],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, module: str, show: Callable[[Comparison], str]
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, f"concurrent_exec.comparing.{module}", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=rf"needs the package {package}: pip install .*\[compare"):
        show(PLAIN)


# ---- the front ----


def test_it_is_a_function_of_the_front_that_is_imported_when_used() -> None:
    script = """
import sys
import concurrent_exec

assert "concurrent_exec.comparing" not in sys.modules
assert callable(concurrent_exec.compare)
assert concurrent_exec.Comparison.__name__ == "Comparison"
assert not hasattr(concurrent_exec, "no_such_name")
assert not {"matplotlib", "rich"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_executors_may_be_made_by_the_caller() -> None:
    found = compare(
        at_once(),
        READ,
        [(1,)],
        executors={"slow": partial(CallbackExecutor, max_per_second=1e6), "t": ThreadExecutor},
        concurrencies=[1],
        statements_per_go=1,
        rounds=1,
    )
    assert [each.executor for each in found.rows] == ["slow", "t"]
