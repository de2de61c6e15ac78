"""What goes over the wire, what goes through the driver, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any
from unittest.mock import MagicMock

import cassandra
import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ProtocolHandler
from cassandra.query import BatchStatement, SimpleStatement

from concurrent_exec import (
    BatchExecutor,
    ConcurrentExecError,
    DirectExecutor,
    Retry,
    UnknownDriverError,
)
from concurrent_exec.drivers.direct import go, known
from tests.direct.server import ECHO, INSERT, SELECT, ScriptedServer, text_of


class MyPolicy(RoundRobinPolicy):  # type: ignore[misc]
    """One of the user's own."""


class MyHandler(ProtocolHandler):  # type: ignore[misc]
    """One of the user's own."""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """Answers everything that it is sent, at once."""
    server = ScriptedServer("127.79.6.1")
    ended = Event()

    def answer() -> None:
        while not ended.is_set():
            with server.changed:
                server.changed.wait_for(lambda: bool(server.held), timeout=0.2)
                held = list(server.held)
            for each in held:
                server.take(each)
                each.peer.send(each.success())

    thread = Thread(target=answer)
    thread.start()
    yield server
    ended.set()
    thread.join()
    server.close()


@pytest.fixture(scope="module")
def session(server: ScriptedServer) -> Iterator[Any]:
    profiles = {
        EXEC_PROFILE_DEFAULT: ExecutionProfile(TokenAwarePolicy(RoundRobinPolicy())),
        "mine": ExecutionProfile(MyPolicy()),
        "mine within": ExecutionProfile(TokenAwarePolicy(MyPolicy())),
        "speculative": ExecutionProfile(
            RoundRobinPolicy(),
            speculative_execution_policy=ConstantSpeculativeExecutionPolicy(30, 1),
        ),
    }
    cluster = server.cluster(protocol_version=4, execution_profiles=profiles)
    yield cluster.connect()
    cluster.shutdown()


def run(session: Any, statement: Any, parameters: Any, **options: Any) -> Any:
    with DirectExecutor(session) as executor:
        return executor.submit(statement, parameters, **options).result(20)


Case = Callable[[Any, pytest.MonkeyPatch], object]


def prepared(**attributes: Any) -> Case:
    def case(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
        statement = session.prepare(INSERT)
        for name, value in attributes.items():
            setattr(statement, name, value)
        return run(session, statement, (1, "a"))

    return case


def option(**options: Any) -> Case:
    return lambda session, monkeypatch: run(session, session.prepare(INSERT), (1, "a"), **options)


def changed(**attributes: Any) -> Case:
    def case(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
        for name, value in attributes.items():
            monkeypatch.setattr(session, name, value)
        return run(session, session.prepare(INSERT), (1, "a"))

    return case


def bound(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    return run(session, session.prepare(INSERT).bind((1, "a")), None)


def select(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    rows = run(session, session.prepare(SELECT), (7,))
    assert rows.one().value == text_of(7)
    return rows


def retrying(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    """The listener that keeps timestamps is ours."""
    return run(session, session.prepare(INSERT), (1, "a"), retry=Retry())


PLAIN: dict[str, Case] = {
    "insert": prepared(),
    "select": select,
    "bound": bound,
    "names": lambda session, _: run(session, session.prepare(INSERT), {"key": 1, "value": "a"}),
    "null": lambda session, _: run(session, session.prepare(INSERT), (1, None)),
    "unset": lambda session, _: run(session, session.prepare(INSERT), (1,)),
    "bound with null": lambda session, _: run(
        session, session.prepare(INSERT).bind((1, None)), None
    ),
    "bound with unset": lambda session, _: run(session, session.prepare(INSERT).bind((1,)), None),
    "timestamps": lambda session, monkeypatch: own_timestamps(session, monkeypatch),
    "retry": retrying,
    "idempotent": prepared(is_idempotent=True),
    "timeout": option(timeout=5.0),
    "no timeout": option(timeout=None),
    "serial": prepared(serial_consistency_level=cassandra.ConsistencyLevel.SERIAL),
    "no timestamp": changed(use_client_timestamp=False),
}


def a_listener(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    heard: list[Any] = []
    session.add_request_init_listener(heard.append)
    try:
        return run(session, session.prepare(INSERT), (1, "a"))
    finally:
        session.remove_request_init_listener(heard.append)
        assert heard


def speculative(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    statement = session.prepare(INSERT)
    statement.is_idempotent = True
    return run(session, statement, (1, "a"), execution_profile="speculative")


def own_timestamps(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a generator of the user's own, which is asked once for each statement."""
    given: list[int] = []

    def next_one() -> int:
        given.append(len(given))
        return given[-1]

    monkeypatch.setattr(session.cluster, "timestamp_generator", next_one)
    with DirectExecutor(session) as executor:
        executor.map(session.prepare(INSERT), [(key, "a") for key in range(10)]).all()
    assert len(given) == 10


def continuous_paging(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    profile = session.execution_profile_clone_update(
        EXEC_PROFILE_DEFAULT, continuous_paging_options=object()
    )
    with DirectExecutor(session) as executor:
        return executor.submit(
            session.prepare(INSERT), (1, "a"), execution_profile=profile
        ).exception(20)


def foreign_type(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    statement = session.prepare(INSERT)
    column = statement.column_metadata[1]

    class Foreign(column.type):  # type: ignore[misc,name-defined]
        @staticmethod
        def serialize(value: Any, protocol_version: int) -> bytes:
            return b"foreign"

    statement.column_metadata = [statement.column_metadata[0], column._replace(type=Foreign)]
    return run(session, statement, (1, "a"))


def encrypted(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    class Policy:
        def contains_column(self, column: Any) -> bool:
            return False

    return prepared(column_encryption_policy=Policy())(session, monkeypatch)


def batch(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
    statements = BatchStatement()
    statements.add(session.prepare(INSERT), (1, "a"))
    return run(session, statements, None)


def lost(what: Any, name: str) -> Case:
    """One for which the way can't be looked up."""

    def case(session: Any, monkeypatch: pytest.MonkeyPatch) -> object:
        def raises(*_: Any) -> Any:
            raise RuntimeError("lost")

        monkeypatch.setattr(what, name, raises)
        return run(session, session.prepare(INSERT), (1, "a"))

    return case


FOR_THE_DRIVER: dict[str, Case] = {
    "text": lambda session, _: run(session, f"{ECHO}1", None),
    "simple": lambda session, _: run(session, SimpleStatement(f"{ECHO}1"), None),
    "batch": batch,
    "trace": option(trace=True),
    "payload": option(custom_payload={"key": b"value"}),
    "statement's payload": prepared(custom_payload={"key": b"value"}),
    "listener": a_listener,
    "metrics": changed(_metrics=MagicMock()),
    "handler": changed(client_protocol_handler=MyHandler),
    "policy": option(execution_profile="mine"),
    "policy within": option(execution_profile="mine within"),
    "speculative": speculative,
    "continuous paging": continuous_paging,
    "encryption": encrypted,
    "type": foreign_type,
    "terms": lost(go.Go, "_terms"),
    "plan": lost(go.Planner, "plan"),
    "hosts": lost(go.Planner, "routes"),
    "connection": lost(go.Go, "_find_target"),
}


@pytest.mark.filterwarnings("ignore:Legacy execution parameters:DeprecationWarning")
def test_a_session_without_profiles(server: ScriptedServer) -> None:
    """One that is configured in the old way has its options itself, and no profile of any name."""
    cluster = server.cluster(protocol_version=4, load_balancing_policy=RoundRobinPolicy())
    try:
        session = cluster.connect()
        insert = session.prepare(INSERT)
        session.default_timeout = 20.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "_create_response_future", None)
            assert not list(run(session, insert, (1, "a")))
        with pytest.raises(ValueError, match="execution_profile") as theirs:
            session.execute(insert, (1, "a"), execution_profile="mine")
        with pytest.raises(ValueError) as ours:
            run(session, insert, (1, "a"), execution_profile="mine")
        assert str(ours.value) == str(theirs.value)
    finally:
        cluster.shutdown()


def test_a_profile_that_there_is_not_is_the_drivers_to_refuse(session: Any) -> None:
    with pytest.raises(ValueError, match="nobody"):
        run(session, session.prepare(INSERT), (1, "a"), execution_profile="nobody")


def test_any_number_of_different_statements(
    session: Any, futures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How each is sent is remembered of the last ones only."""
    monkeypatch.setattr(go, "_MOST_PLANS", 3)
    monkeypatch.setattr(go, "_MOST_ROUTES", 2)
    inserts = []
    for number in range(10):
        insert = session.prepare(INSERT)
        columns = insert.column_metadata
        insert.column_metadata = [each._replace(table_name=f"t{number}") for each in columns]
        inserts.append(insert)
    pairs = [(insert, (key, "a")) for _ in range(3) for key, insert in enumerate(inserts)]
    with DirectExecutor(session) as executor:
        assert len(executor.execute(pairs).all()) == len(pairs)
    with BatchExecutor(session) as batching:
        assert len(batching.execute(pairs).all()) == len(pairs)
    assert not futures


@pytest.mark.parametrize("case", PLAIN.values(), ids=PLAIN)
def test_what_is_plain_needs_no_future(
    case: Case, session: Any, futures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case(session, monkeypatch)
    assert not futures


@pytest.mark.parametrize("case", FOR_THE_DRIVER.values(), ids=FOR_THE_DRIVER)
def test_what_is_not_plain_goes_through_the_driver(
    case: Case, session: Any, futures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case(session, monkeypatch)
    assert futures


@pytest.mark.parametrize(
    ("parameters", "error"),
    [((1, 2), AttributeError), ((1, "a", 3), ValueError), (("x", "a"), TypeError)],
)
def test_parameters_that_do_not_fit_are_the_drivers_to_refuse(
    parameters: Any, error: type[Exception], session: Any
) -> None:
    statement = session.prepare(INSERT)
    with pytest.raises(error) as theirs:
        session.execute(statement, parameters)
    with pytest.raises(error) as ours:
        run(session, statement, parameters)
    assert str(ours.value) == str(theirs.value)


def test_a_frame_that_the_driver_would_encode_otherwise_is_not_sent(
    session: Any, futures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = ProtocolHandler.encode_message

    def otherwise(*args: Any, **named: Any) -> bytes:
        frame: bytes = encode(*args, **named)
        return frame + (b"!" if args[1] == 0x1234 else b"")

    statement = session.prepare(INSERT)
    statement.fetch_size = 77  # no plan that has been found to fit
    monkeypatch.setattr(ProtocolHandler, "encode_message", otherwise)
    run(session, statement, (1, "a"))
    assert futures


# ---- refusals ----


def refused(session: Any) -> str:
    with pytest.raises(UnknownDriverError) as raised:
        DirectExecutor(session)
    assert isinstance(raised.value, ConcurrentExecError)
    assert isinstance(raised.value, TypeError)
    assert "CallbackExecutor can" in str(raised.value)
    return raised.value.reason


def test_it_takes_a_session_as_we_know_it(session: Any) -> None:
    assert known.check(session) in ("cassandra-driver", "scylla-driver")


def test_it_refuses_what_only_looks_like_a_session() -> None:
    class Wrapped:
        def execute_async(self) -> None: ...

    assert "not a driver's own" in refused(Wrapped())


@pytest.mark.parametrize("version", ["3.28.9", "3.99.0", "4.0.0"])
def test_it_refuses_a_version_that_it_was_not_tested_with(
    version: str, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra, "__version__", version)
    assert version in refused(session)


def test_it_refuses_a_function_with_other_parameters(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(self: Any, connection: Any, host: Any) -> None: ...

    monkeypatch.setattr(known, "_SIGNATURES", ((other, "host connection"),))
    assert "['connection', 'host']" in refused(session)


def test_it_refuses_a_session_pool_or_connection_that_lacks_something(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what in ("_OF_SESSIONS", "_OF_CLUSTERS", "_OF_POOLS", "_OF_CONNECTIONS"):
        with monkeypatch.context() as patch:
            patch.setattr(known, what, ("no_such_thing",))
            assert "has no no_such_thing" in refused(session)


def test_it_refuses_a_reactor_and_a_protocol_that_it_does_not_know(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(session.cluster.connection_class):  # type: ignore[misc]
        pass

    with monkeypatch.context() as patch:
        patch.setattr(session.cluster, "connection_class", Mine)
        assert "Mine" in refused(session)
    monkeypatch.setattr(session, "_protocol_version", 3)
    assert "protocol version 3" in refused(session)
