"""What BatchExecutor's batches do on a real server, and what they would do if they were wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from cassandra import ConsistencyLevel, InvalidRequest
from cassandra.cluster import ResponseFuture, Session
from cassandra.protocol import BatchMessage
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType

from concurrent_exec import BatchExecutor
from concurrent_exec.drivers.direct.outgoing import SessionOutgoing
from concurrent_exec.drivers.direct.wire import SessionWire
from concurrent_exec.executors import batching
from concurrent_exec.executors._groups import grouped
from concurrent_exec.model import Sending
from concurrent_exec.run import Job
from tests.direct.server import Batch
from tests.integration.support import Requests

pytestmark = pytest.mark.cluster

TOO_LONG = "x" * 70_000
"""No key may have more than 64 KiB: the server refuses it, and the batch that has it."""


@pytest.fixture(scope="module")
def make_table(session: Any) -> Callable[..., str]:
    """Make a table, empty, and return its name."""

    def make(name: str, columns: str) -> str:
        session.execute(f"DROP TABLE IF EXISTS {name}")
        session.execute(f"CREATE TABLE {name} ({columns})")
        return name

    return make


class Watched(Protocol):
    """What is sent, as the driver's messages."""

    messages: list[Any]


class OurRequests:
    """What goes over the session's connections, as the bytes say, and what the driver sends.

    A listener of the session's would have all go through the driver.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.messages: list[Any] = []
        send_to, send_request = SessionWire.send_to, ResponseFuture.send_request

        def ours(wire: Any, target: Any) -> Any:
            self.messages += [
                _batch_message(Batch.parsed(request.body, request.plan.version))
                if request.plan.opcode == BatchMessage.opcode
                else request
                for request in target.requests
            ]
            return send_to(wire, target)

        def theirs(future: Any, *args: Any, **options: Any) -> Any:
            self.messages.append(future.message)
            return send_request(future, *args, **options)

        patch.setattr(SessionWire, "send_to", ours)
        patch.setattr(ResponseFuture, "send_request", theirs)


def _batch_message(batch: Batch) -> BatchMessage:
    return BatchMessage(
        BatchType.UNLOGGED if batch.kind == BatchType.UNLOGGED.value else BatchType.LOGGED,
        [(True, *statement) for statement in batch.statements],
        batch.consistency,
        batch.serial_consistency,
        batch.timestamp,
    )


@pytest.fixture(params=["the driver's", "ours"])
def requests(
    session: Session, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    """Batches by the driver and by us: the same."""
    if request.param == "ours":
        yield OurRequests(monkeypatch)
    else:
        with Requests(session) as watched:
            yield watched


def sizes(requests: Watched) -> list[int]:
    """How many statements each message had; 0 for one that was no batch."""
    return [
        len(message.queries) if isinstance(message, BatchMessage) else 0
        for message in requests.messages
    ]


def run(session: Any, pairs: Any, **options: Any) -> list[Any]:
    with BatchExecutor(session, **options) as executor:
        return executor.execute(pairs, raise_on_first_error=False).all()


# ---- what goes together ----


def test_writes_of_a_partition_go_together(
    session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_part", "k int, c int, v text, PRIMARY KEY (k, c)")
    insert = session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    rows = [(k, c, f"{k} {c}") for c in range(50) for k in range(7)]
    results = run(session, [(insert, row) for row in rows])
    assert [result.success for result in results] == [True] * 350
    assert {tuple(row) for row in session.execute(f"SELECT k, c, v FROM {table}")} == set(rows)
    batches = [each for each in requests.messages if isinstance(each, BatchMessage)]
    assert sum(sizes(requests)) == 350
    assert len(batches) < 20
    for batch in batches:
        assert batch.batch_type is BatchType.UNLOGGED
        assert len({values[0] for _, _, values in batch.queries}) == 1, "of one partition"


def test_writes_of_partitions_on_the_same_nodes_go_together(
    session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_rows", "k int PRIMARY KEY, v text")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    rows = [(k, f"value {k}") for k in range(300)]
    results = run(session, [(insert, row) for row in rows], batch_mode="replica_set")
    assert [result.success for result in results] == [True] * 300
    assert {tuple(row) for row in session.execute(f"SELECT k, v FROM {table}")} == set(rows)
    assert sum(sizes(requests)) == 300
    assert len(requests.messages) < 20


def test_tables_kinds_and_options_of_columns_may_be_mixed(
    session: Any, make_table: Any, requests: Watched
) -> None:
    """TTL, timestamp, null and unset of one statement are no other's."""
    table = make_table("batch_mixed", "k int, c int, v int, w int, PRIMARY KEY (k, c)")
    insert = session.prepare(f"INSERT INTO {table} (k, c, v, w) VALUES (?, ?, ?, ?)")
    for c in range(4):
        session.execute(insert, (1, c, 1, 1))
    pairs = [
        (session.prepare(f"INSERT INTO {table} (k, c, v, w) VALUES (?, ?, ?, ?)"), (1, 0, None, 2)),
        (insert, (1, 1, UNSET_VALUE, 2)),
        (session.prepare(f"DELETE FROM {table} WHERE k = ? AND c = ?"), (1, 2)),
        (session.prepare(f"UPDATE {table} SET v = ? WHERE k = ? AND c = ?"), (2, 1, 3)),
        (session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?) USING TTL ?"),
         (1, 4, 2, 1000)),
        (session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?) USING TIMESTAMP ?"),
         (1, 5, 2, 1234)),
    ]  # fmt: skip
    requests.messages.clear()
    assert all(result.success for result in run(session, pairs))
    assert sizes(requests) == [6]
    found = session.execute(f"SELECT c, v, w, TTL(v), WRITETIME(v) FROM {table} WHERE k = 1")
    rows = {row[0]: row for row in found}
    assert {c: (row[1], row[2]) for c, row in rows.items()} == {
        0: (None, 2),
        1: (1, 2),
        3: (2, 1),
        4: (2, None),
        5: (2, None),
    }
    assert rows[3][3] is None
    assert 900 < rows[4][3] <= 1000
    assert rows[5][4] == 1234


# ---- what does not ----


def test_lightweight_transactions_go_alone(
    session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_lwt", "k int, c int, PRIMARY KEY (k, c)")
    insert = session.prepare(f"INSERT INTO {table} (k, c) VALUES (?, ?)")
    once = session.prepare(f"INSERT INTO {table} (k, c) VALUES (?, ?) IF NOT EXISTS")
    requests.messages.clear()
    results = run(session, [(insert, (1, 1)), (insert, (1, 2)), (once, (1, 2)), (once, (2, 3))])
    assert [result.success for result in results] == [True] * 4
    assert results[3].unwrap().was_applied
    assert sizes(requests) == [2, 0, 0]


def test_counters_go_alone(session: Any, make_table: Any, requests: Watched) -> None:
    """The server takes no batch that has counters and other writes."""
    table = make_table("batch_rows", "k int PRIMARY KEY, v int")
    counters = make_table("batch_counters", "k int PRIMARY KEY, n counter")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    count = session.prepare(f"UPDATE {counters} SET n = n + ? WHERE k = ?")
    requests.messages.clear()
    pairs = [(insert, (1, 1)), (count, (1, 1)), (insert, (2, 1)), (count, (1, 1))]
    results = run(session, pairs, batch_mode="replica_set")
    assert [result.success for result in results] == [True] * 4
    assert session.execute(f"SELECT n FROM {counters} WHERE k = 1").one()[0] == 2
    assert sorted(sizes(requests)[:3]) == [0, 0, 2]
    mixed = BatchStatement(BatchType.UNLOGGED).add(insert, (1, 1)).add(count, (1, 1))
    with pytest.raises(InvalidRequest, match=r"[Cc]ounter"):
        session.execute(mixed)


def test_reads_and_what_is_not_prepared_go_alone(
    session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_reads", "k int PRIMARY KEY, v int")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    select = session.prepare(f"SELECT v FROM {table} WHERE k = ?")
    requests.messages.clear()
    pairs = [
        (insert, (1, 1)),
        (insert, (2, 2)),
        (f"INSERT INTO {table} (k, v) VALUES (3, 3)", None),
        (insert, (4, 4)),
        (insert, (5, 5)),
        (select, (99,)),
    ]
    results = run(session, pairs, batch_mode="replica_set")
    assert [result.success for result in results] == [True] * 6
    assert results[5].unwrap().one() is None
    assert sizes(requests) == [2, 0, 0, 2]


def test_what_does_not_fit_goes_alone(session: Any, make_table: Any, requests: Watched) -> None:
    table = make_table("batch_large", "k int, c int, v text, PRIMARY KEY (k, c)")
    insert = session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    requests.messages.clear()
    rows = [(1, 1, "a"), (1, 2, "b"), (1, 3, "x" * 6000), (1, 4, "c"), (1, 5, "d")]
    assert all(result.success for result in run(session, [(insert, row) for row in rows]))
    assert sizes(requests) == [2, 0, 2]


# ---- the later of two writes ----

LATER: dict[str, tuple[str, str, Callable[[int, int], object], str]] = {
    "the row": (
        "k int, c int, v int, PRIMARY KEY (k, c)",
        "INSERT INTO {} (k, c, v) VALUES (?, ?, ?)",
        lambda k, v: (k, 0, v),
        "v",
    ),
    "a static column": (
        "k int, c int, v int static, PRIMARY KEY (k, c)",
        "INSERT INTO {} (k, c, v) VALUES (?, ?, ?)",
        lambda k, v: (k, v, v),
        "v",
    ),
}
TRIALS = 400


@pytest.mark.parametrize("grouped_wrongly", [False, True])
@pytest.mark.parametrize("mode", ["partition_key", "replica_set"])
@pytest.mark.parametrize("what", LATER)
def test_the_later_of_two_writes_wins(
    what: str,
    mode: Any,
    grouped_wrongly: bool,
    session: Any,
    make_table: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one batch, which has one timestamp, the larger value would: 2 here, and not 1."""
    columns, text, row, column = LATER[what]
    table = make_table("batch_later", columns)
    write = session.prepare(text.format(table))
    if grouped_wrongly:
        number = iter(range(10**9))

        def as_if_rows_were_different(writes: Any, **limits: Any) -> Any:
            different = [write._replace(row=next(number)) for write in writes]
            return grouped(different, **limits)

        monkeypatch.setattr(batching, "grouped", as_if_rows_were_different)
    pairs = [(write, row(k, v)) for k in range(TRIALS) for v in (2, 1)]
    # A stream is sent by its feeder and by the I/O thread, which must not overtake each other.
    given = pairs if grouped_wrongly else iter(pairs)
    assert all(result.success for result in run(session, given, batch_mode=mode))
    found = session.execute(f"SELECT k, {column} FROM {table}")
    assert {row[0]: row[1] for row in found} == dict.fromkeys(
        range(TRIALS), 2 if grouped_wrongly else 1
    )


def test_a_row_written_after_its_range_was_deleted_stays(session: Any, make_table: Any) -> None:
    """With one timestamp the deletion would win, whichever came first."""
    table = make_table("batch_ranges", "k int, c int, PRIMARY KEY (k, c)")
    insert = session.prepare(f"INSERT INTO {table} (k, c) VALUES (?, ?)")
    delete = session.prepare(f"DELETE FROM {table} WHERE k = ? AND c >= ?")
    pairs = [
        pair
        for k in range(100)
        for pair in [(insert, (k, 1)), (insert, (k, 2)), (delete, (k, 2)), (insert, (k, 3))]
    ]
    assert all(result.success for result in run(session, pairs))
    found = {tuple(row) for row in session.execute(f"SELECT k, c FROM {table}")}
    assert found == {(k, c) for k in range(100) for c in (1, 3)}


# ---- failures ----


@pytest.mark.parametrize("idempotent", [True, False])
def test_one_bad_statement(
    idempotent: bool, session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_bad", "k text PRIMARY KEY, v int")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    insert.is_idempotent = idempotent
    rows = [(TOO_LONG if k == 3 else str(k), k) for k in range(6)]
    requests.messages.clear()
    results = run(
        session,
        [(insert, row) for row in rows],
        batch_mode="replica_set",
        max_batch_bytes=200_000,
    )
    written = {row[0] for row in session.execute(f"SELECT v FROM {table}")}
    good = [result.success for result in results]
    bad = results[3]
    assert isinstance(bad.result_or_exc, InvalidRequest)
    if idempotent:
        assert good == [True, True, True, False, True, True]
        assert written == {0, 1, 2, 4, 5}
        assert sizes(requests)[:7] == [6, 0, 0, 0, 0, 0, 0]
        assert (bad.batch_size, bad.attempts) == (1, 2)
        assert isinstance(bad.errors[0], InvalidRequest)
        assert len({message.timestamp for message in requests.messages[:7]}) == 1
    else:
        assert good == [False] * 6
        assert written == set()
        assert sizes(requests)[:1] == [6]
        assert {(result.batch_size, result.attempts) for result in results} == {(6, 1)}


# ---- the server's warnings ----

WEIGHTS: dict[str, tuple[str, str, Callable[[int], object]]] = {
    "many small": ("k int PRIMARY KEY, v int", "(k, v) VALUES (?, ?)", lambda k: (k, k)),
    "wide": (
        "k int PRIMARY KEY, " + ", ".join(f"v{n} int" for n in range(20)),
        f"(k, {', '.join(f'v{n}' for n in range(20))}) VALUES (?{', ?' * 20})",
        lambda k: (k, *range(20)),
    ),
    "long texts": (
        "k int PRIMARY KEY, v text",
        "(k, v) VALUES (?, ?) USING TTL 1000",
        lambda k: (k, "x" * 700),
    ),
    "lists": (
        "k int PRIMARY KEY, v list<int>",
        "(k, v) VALUES (?, ?)",
        lambda k: (k, list(range(20))),
    ),
    "maps": (
        "k int, c int, v map<text, int>, PRIMARY KEY (k, c)",
        "(k, c, v) VALUES (?, 0, ?)",
        lambda k: (k, {str(n): n for n in range(20)}),
    ),
    "literals": (
        "k int PRIMARY KEY, v text, w set<int>",
        f"(k, v, w) VALUES (?, '{'y' * 300}', {{1, 2, 3, 4, 5, 6, 7, 8}})",
        lambda k: (k,),
    ),
}


LOOKED_AT: dict[str, tuple[str, str, Callable[[int], object]]] = {
    **WEIGHTS,
    "rows of partitions": (
        "k int, c int, d text, v text, PRIMARY KEY ((k), c, d)",
        "(d, k, v, c) VALUES (?, ?, ?, ?)",
        lambda k: ("d" * k, k // 3, "x" * k, k % 3),
    ),
    "static columns": (
        "k int, c int, v int static, PRIMARY KEY (k, c)",
        "(k, v) VALUES (?, ?)",
        lambda k: (k // 3, k),
    ),
    "missing values": (
        "k int PRIMARY KEY, v text, w list<int>",
        "(k, v, w) VALUES (?, ?, ?)",
        lambda k: (k, (None, UNSET_VALUE, "x")[k % 3], (None, UNSET_VALUE, [1, 2])[k % 3]),
    ),
}


@pytest.mark.parametrize("mode", ["partition_key", "replica_set"])
@pytest.mark.parametrize("what", LOOKED_AT)
def test_many_are_looked_at_as_each_is(
    what: str, mode: Any, session: Any, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, text, row = LOOKED_AT[what]
    table = make_table("batch_looks", columns)
    insert = session.prepare(f"INSERT INTO {table} {text}")
    sending = Sending({}, None, assume_idempotent=False)
    work: Any = None
    jobs = [Job(work, index, insert, row(index), sending) for index in range(40)]
    in_columns = SessionOutgoing._in_columns
    found: list[Any] = []

    def noting(*given: Any) -> Any:
        found.append(in_columns(*given))
        return found[-1]

    monkeypatch.setattr(SessionOutgoing, "_in_columns", noting)
    with BatchExecutor(session, batch_mode=mode) as executor:
        assert isinstance(executor._wire, SessionWire)
        outgoing = executor._wire.begin(executor._writes, executor._on_answers)
        together = list(outgoing.look(jobs))
        alone = [write for job in jobs for write in outgoing.look([job])]
    assert found == [together]
    assert [each._replace(bound=list(each.bound)) for each in together] == alone
    assert {each.way for each in together} == {alone[0].way}


@pytest.mark.parametrize("what", WEIGHTS)
def test_no_batch_is_so_large_that_the_server_warns(
    what: str, session: Any, make_table: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It does of more than 5 KiB in several partitions; of more than ten of them it does anyway."""
    columns, text, row = WEIGHTS[what]
    table = make_table("batch_weights", columns)
    insert = session.prepare(f"INSERT INTO {table} {text}")

    def warnings(**options: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            pairs = [(insert, row(k)) for k in range(400)]
            assert all(
                result.success
                for result in run(session, pairs, batch_mode="replica_set", **options)
            )
        return [each for each in caplog.messages if "exceeding specified threshold" in each]

    assert warnings() == []
    assert warnings(max_batch_bytes=40_000) != [], "it would warn, if there was a reason"


def test_consistency_and_profile_reach_the_server(
    session: Any, make_table: Any, requests: Watched
) -> None:
    table = make_table("batch_levels", "k int PRIMARY KEY, v int")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    insert.consistency_level = ConsistencyLevel.ALL
    requests.messages.clear()
    with BatchExecutor(session, batch_mode="replica_set") as executor:
        executor.map(insert, [(1, 1), (2, 2)], execution_profile="dicts").all()
    (message,) = requests.messages
    assert message.consistency_level == ConsistencyLevel.ALL


def test_a_statement_that_the_server_has_forgotten_is_prepared_anew(
    session: Any, make_table: Any
) -> None:
    table = make_table("batch_forgotten", "k int PRIMARY KEY, v int")
    insert = session.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    session.execute(f"ALTER TABLE {table} ADD w int")  # which makes the server forget it
    results = run(session, [(insert, (k, k)) for k in range(10)], batch_mode="replica_set")
    assert [result.success for result in results] == [True] * 10
