"""Whatever a server does with its answers, each statement gets its own or fails.

The driver, its connections and the executor are real; the server answers as drawn: late, twice,
never, in any order, in pieces, with ids that nobody waits for, with errors, and dies at any byte.
Each answer tells the key that it is for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

import concurrent_exec
from concurrent_exec import BatchExecutor, DirectExecutor
from tests.conftest import PROOF
from tests.direct.server import (
    ECHO,
    INSERT,
    INVALID,
    OVERLOADED,
    RESULT,
    SELECT,
    VOID,
    WRITE_TIMEOUT,
    Held,
    ScriptedServer,
    text_of,
)
from tests.tls import Certificate

STREAMS = 16
"""So few that they are soon used again."""
CONCURRENCY = 4
BATCH = 3
"""The most statements of a batch."""
MOST_ORPHANS = 8
LONG = 1000.0
"""Seconds by which a statement is made to look older than its timeout."""
QUIET = 30.0


class Way(NamedTuple):
    """How a driver talks to a server."""

    protocol_version: int
    compressed: bool
    tls: bool
    coalescing: bool


BOTH = (False, True)
HAS_LIBEV = find_spec("cassandra.io.libevwrapper") is not None
"""Not cassandra-driver 3.29.0: it can't coalesce."""
WAYS = [Way(*way) for way in product((4, 5), BOTH, BOTH, BOTH if HAS_LIBEV else (False,))]
ANY_WAY = st.sampled_from(WAYS)


class Connected:
    """A driver's session on a server of its own."""

    def __init__(self, way: Way, number: int, certificate: Certificate) -> None:
        place = 1 + WAYS.index(way)
        self.server = ScriptedServer(
            f"127.79.{place}.{number}",
            certificate if way.tls else None,
            cuts_anywhere=way.coalescing,
        )
        profile = ExecutionProfile(RoundRobinPolicy(), request_timeout=QUIET * 2)
        self.cluster = self.server.cluster(
            protocol_version=way.protocol_version,
            reconnection_policy=ConstantReconnectionPolicy(0.01, max_attempts=None),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            compression="lz4" if way.compressed else False,
            ssl_context=certificate.client() if way.tls else None,
            connection_class=concurrent_exec.CoalescingConnection if way.coalescing else None,
        )
        self.session: Any = self.cluster.connect()
        # There is no ring to learn it from: one node has all partitions.
        self.cluster.metadata.get_replicas = lambda keyspace, key: ["the only node"]
        self.insert = self.session.prepare(INSERT)
        self.select = self.session.prepare(SELECT)
        for connection in self.connections:
            assert connection.protocol_version == way.protocol_version
            assert bool(connection.compressor) == way.compressed
            assert bool(connection.ssl_context) == way.tls

    def close(self) -> None:
        self.cluster.shutdown()
        self.server.close()

    @property
    def connections(self) -> list[Any]:
        return [
            connection
            for pool in list(self.session._pools.values())
            for connection in pool.get_connections()
        ]


@pytest.fixture(autouse=True, scope="module")
def few_streams() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster.connection_class, "max_in_flight", STREAMS)
        yield


Connect = Callable[[Way], Connected]


def connecting(number: int, certificate: Certificate) -> Iterator[Connect]:
    """Connect when a way is first drawn."""
    made: dict[Way, Connected] = {}

    def connect(way: Way) -> Connected:
        if way not in made:
            made[way] = Connected(way, number, certificate)
        return made[way]

    yield connect
    for connected in made.values():
        connected.close()


@pytest.fixture(scope="module")
def connect(certificate: Certificate) -> Iterator[Connect]:
    yield from connecting(1, certificate)


@pytest.fixture(scope="module")
def connect_to_one_that_answers_too_much(certificate: Certificate) -> Iterator[Connect]:
    yield from connecting(3, certificate)


class Play:
    """Statements on their way, and a server that does as it is told with each message."""

    def __init__(
        self,
        connected: Connected,
        kinds: list[str],
        *,
        batches: bool = False,
        lays_bare: bool = False,
    ) -> None:
        """Begin.

        batches: whether inserts go together.
        lays_bare: whether they are sent again alone when their batch has failed.
        """
        self.server = connected.server
        self.connected = connected
        self.lays_bare = lays_bare
        self.executor: DirectExecutor[Any] | BatchExecutor[Any]
        if batches:
            self.executor = BatchExecutor(
                connected.session,
                concurrency=CONCURRENCY * BATCH,
                batch_mode="replica_set",
                max_batch_statements=BATCH,
                linger=0,
            )
        else:
            self.executor = DirectExecutor(connected.session, concurrency=CONCURRENCY)
        self.seen = len(self.server.log)
        self.kinds = kinds
        self.fates: dict[int, str] = {}  # of those that the server has done with
        self.messages: dict[int, Held] = {}  # that brought them to their end
        self.begun: list[tuple[Held, Callable[[], None]]] = []  # what sends the rest of an answer
        self.orphaned = 0
        statements = {"select": connected.select, "insert": connected.insert}
        self.results = self.executor.execute(
            [
                (statements[kind], (key, text_of(key))[: 2 if kind == "insert" else 1])
                if kind in statements
                else (f"{ECHO}{key}", None)
                for key, kind in enumerate(kinds)
            ],
            raise_on_first_error=False,
            buffersize=1000,
            assume_idempotent=lays_bare,
        )
        self.settle()

    def settle(self) -> None:
        """Wait until only the server can do something."""
        end = time.monotonic() + QUIET
        gate = self.executor._gate
        while True:
            with self.server.changed:
                held = sum(len(held.keys) for held in self.waiting())
                begun = sum(len(held.keys) for held, _ in self.begun if not held.given_up)
            if not gate.may_take() and gate.in_flight == held + begun:
                return
            assert time.monotonic() < end, f"hangs: {gate.in_flight} in flight, {held} held"
            time.sleep(0.0002)

    def waiting(self) -> list[Held]:
        return [held for held in self.server.held if not held.given_up]

    def ended(self, held: Held, fate: str) -> None:
        """Note how a message has ended that has not been given up before."""
        if held.given_up or (held.is_batch and self.lays_bare and fate != "success"):
            return
        for key in held.keys:
            self.fates[key] = fate
            self.messages[key] = held

    # ---- what the server may do ----

    def answer(self, held: Held, *, twice: bool = False) -> None:
        self.finish_begun(held.peer)
        self.server.take(held)
        self.ended(held, "success")
        held.peer.send(held.success() * (2 if twice else 1))

    def warn(self, held: Held) -> None:
        self.finish_begun(held.peer)
        self.server.take(held)
        self.ended(held, "success")
        held.peer.send(held.warned() if held.is_insert else held.success())

    def fail(self, held: Held, code: int) -> None:
        self.finish_begun(held.peer)
        self.server.take(held)
        self.ended(held, "error")
        held.peer.send(held.error(code))

    def begin(self, held: Held, cut: int) -> None:
        self.finish_begun(held.peer)
        self.server.take(held)
        self.ended(held, "success")
        begin, go_on = held.peer.halves(held.success(), cut)
        begin()
        self.begun.append((held, go_on))

    def finish_begun(self, peer: Any) -> None:
        for held, go_on in list(self.begun):
            if held.peer is peer:
                self.begun.remove((held, go_on))
                go_on()

    def answer_unknown(self, held: Held, stream: int) -> None:
        """Answer with a stream id that no statement on its way has."""
        in_use = {each.stream for each in self.server.held}
        self.finish_begun(held.peer)
        if 1000 + stream not in in_use:
            held.peer.send(held.frame(RESULT, VOID, 1000 + stream))

    def time_out(self) -> None:
        """Let all that wait without the driver's own timer be given up."""
        wire: Any = self.executor._wire
        with self.server.changed:
            given_up = [held for held in self.waiting() if held.prepared]
            begun = [held for held, _ in self.begun if held.prepared and not held.given_up]
            if self.orphaned + len(given_up) + len(begun) > MOST_ORPHANS:
                return
            self.orphaned += len(given_up) + len(begun)
            for held in given_up + begun:
                self.ended(held, "timeout")
                held.given_up = True
        for request in list(wire._waiting):
            request.sent_at -= LONG
        self.connected.cluster.connection_class.create_timer(0, wire.sweep)

    def die(self, held: Held, cut: int) -> None:
        if self.server.cuts_anywhere:
            begin, _ = held.peer.halves(held.success(), cut)
            begin()
        else:
            # A connection that ends within a frame is not noticed by the drivers: they read its
            # end over and over, until a heartbeat or something that is sent fails.
            self.finish_begun(held.peer)
        held.peer.close()

    # ---- the end ----

    def step(self, choose: Callable[[int], int], acts: str) -> None:
        held = list(self.server.held)
        if not held:
            self.time_out()
            return
        chosen = held[choose(len(held))]
        match acts.split()[choose(len(acts.split()))]:
            case "answer":
                self.answer(chosen)
            case "warn":
                self.warn(chosen)
            case "twice":
                self.answer(chosen, twice=True)
            case "fail":
                self.fail(chosen, [WRITE_TIMEOUT, OVERLOADED, INVALID][choose(3)])
            case "begin":
                self.begin(chosen, choose(1000))
            case "unknown":
                self.answer_unknown(chosen, choose(100))
            case "time_out":
                self.time_out()
            case "die":
                self.die(chosen, choose(1000))

    def finish(self) -> list[Any]:
        """Answer whatever waits, and check that each statement has got what is its own."""
        end = time.monotonic() + QUIET
        while not self.results._run.over or self.server.held or self.begun:
            for held, _ in list(self.begun):
                self.finish_begun(held.peer)
            for held in list(self.server.held):
                try:
                    self.answer(held)
                except ValueError:  # its connection has just gone
                    pass
            assert time.monotonic() < end, f"hangs: {self.executor.statistics()}"
            time.sleep(0.0002)
        results = list(self.results)
        assert len(results) == len(self.kinds)
        for key, result in enumerate(results):
            if result.success and self.kinds[key] != "insert":
                rows: Any = result.result_or_exc
                assert rows.one().value == text_of(key)
            elif not result.success and hasattr(result.result_or_exc, "message"):
                message = self.messages.get(key)
                assert f"no {key if message is None else message.key}" in str(result.result_or_exc)
        return results

    def assert_none_came_too_often(self) -> None:
        """Each came once, or alone a second time after it had been in a batch."""
        came = self.server.log[self.seen :]
        alone = Counter(held.key for held in came if not held.is_batch)
        batched = Counter(key for held in came if held.is_batch for key in held.keys)
        for key in range(len(self.kinds)):
            most = 1 if self.lays_bare or not batched[key] else 0
            assert alone[key] <= most, key
            assert 1 <= alone[key] + batched[key] <= 1 + (batched[key] and self.lays_bare), key


OURS = st.lists(st.sampled_from(["select", "insert"]), min_size=1, max_size=40)
MIXED = st.lists(st.sampled_from(["select", "insert", "echo"]), min_size=1, max_size=40)
INSERTS = st.lists(st.sampled_from(["insert"] * 6 + ["select", "echo"]), min_size=1, max_size=60)
NUMBERS = st.lists(st.integers(0, 100_000), max_size=200)


def chooser(numbers: list[int]) -> Callable[[int], int]:
    source = iter(numbers)
    return lambda below: next(source, 0) % below


REGULAR = "answer answer answer fail begin begin time_out time_out"


@settings(max_examples=4_000 if PROOF else 160)
@given(way=ANY_WAY, kinds=MIXED, steps=st.integers(0, 50), numbers=NUMBERS)
def test_each_statement_gets_its_own_answer(
    connect: Connect, way: Way, kinds: list[str], steps: int, numbers: list[int]
) -> None:
    """Among statements of the driver's own, which have their streams of the same connection."""
    play_and_check(connect(way), kinds, steps, numbers, REGULAR)


# A driver puts the stream of an answer that nobody waits for among the free ones, where it may be
# already. So the driver's own statements must not be among those of the next test: a driver would
# send two with one id.
@settings(max_examples=4_000 if PROOF else 160)
@given(way=ANY_WAY, kinds=OURS, steps=st.integers(0, 50), numbers=NUMBERS)
def test_answers_that_nobody_waits_for_go_to_nobody(
    connect_to_one_that_answers_too_much: Connect,
    way: Way,
    kinds: list[str],
    steps: int,
    numbers: list[int],
) -> None:
    connected = connect_to_one_that_answers_too_much(way)
    play_and_check(connected, kinds, steps, numbers, REGULAR + " twice twice unknown")


@settings(max_examples=4_000 if PROOF else 160)
@given(
    way=ANY_WAY, kinds=INSERTS, steps=st.integers(0, 50), numbers=NUMBERS, lays_bare=st.booleans()
)
def test_each_statement_of_a_batch_gets_the_answer_of_its_batch(
    connect: Connect,
    way: Way,
    kinds: list[str],
    steps: int,
    numbers: list[int],
    lays_bare: bool,
) -> None:
    play = Play(connect(way), kinds, batches=True, lays_bare=lays_bare)
    go_on_and_check(play, steps, numbers, REGULAR + " warn")
    play.assert_none_came_too_often()


def play_and_check(
    connected: Connected, kinds: list[str], steps: int, numbers: list[int], acts: str
) -> None:
    go_on_and_check(Play(connected, kinds), steps, numbers, acts)


def go_on_and_check(play: Play, steps: int, numbers: list[int], acts: str) -> None:
    choose = chooser(numbers)
    for _ in range(steps):
        play.step(choose, acts)
        play.settle()
    results = play.finish()
    for key, result in enumerate(results):
        assert result.success == (play.fates[key] == "success"), (key, play.fates[key], result)
    assert_all_streams_are_back(play.connected)


def assert_all_streams_are_back(connected: Connected) -> None:
    # On asyncore a driver reads no late answers while it waits for no other.
    connected.session.execute("anything")
    end = time.monotonic() + QUIET
    for connection in connected.connections:
        while connection.in_flight or connection._requests or connection.orphaned_request_ids:
            assert time.monotonic() < end, vars(connection)
            time.sleep(0.0002)
        known = {*range(connection.highest_request_id + 1)}
        assert known <= set(connection.request_ids)


@settings(max_examples=500 if PROOF else 25)
@given(
    way=ANY_WAY,
    kinds=MIXED | INSERTS,
    steps=st.integers(1, 30),
    numbers=NUMBERS,
    batches=st.booleans(),
)
def test_a_server_that_dies_loses_no_statement(
    certificate: Certificate,
    way: Way,
    kinds: list[str],
    steps: int,
    numbers: list[int],
    batches: bool,
) -> None:
    connected = Connected(way, 2, certificate)
    try:
        play = Play(connected, kinds, batches=batches)
        choose = chooser(numbers)
        for _ in range(steps):
            try:
                play.step(choose, REGULAR + " die")
            except ValueError:  # the connection of the one chosen has gone meanwhile
                pass
        play.finish()
    finally:
        connected.close()
