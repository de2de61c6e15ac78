"""The host that a statement is sent to first is the one that the session's policy names first."""

from __future__ import annotations

import random
import uuid
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import cassandra.policies
import pytest
from cassandra import ConsistencyLevel
from cassandra.connection import DefaultEndPoint
from cassandra.metadata import KeyspaceMetadata, Metadata, Murmur3Token, TokenMap
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    DefaultLoadBalancingPolicy,
    RoundRobinPolicy,
    SimpleConvictionPolicy,
    TokenAwarePolicy,
    WhiteListRoundRobinPolicy,
)
from cassandra.pool import Host
from cassandra.query import BoundStatement, PreparedStatement
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec.drivers.direct import routes
from concurrent_exec.drivers.direct.go import Planner
from concurrent_exec.drivers.direct.known import driver_name
from concurrent_exec.drivers.direct.plan import Same, Terms
from tests.conftest import PROOF

KEYSPACE, TABLE = "shop", "users"
TOKENS_A_NODE = 3
Column = namedtuple("Column", ["keyspace_name", "table_name", "name", "type"])

POLICIES: dict[str, Callable[[int], Any]] = {
    "round robin": lambda remote: RoundRobinPolicy(),
    "dc aware": lambda remote: DCAwareRoundRobinPolicy("here", remote),
    "white list": lambda remote: WhiteListRoundRobinPolicy(["127.0.0.1", "127.0.0.3"]),
}
if hasattr(cassandra.policies, "RackAwareRoundRobinPolicy"):
    POLICIES["rack aware"] = lambda remote: cassandra.policies.RackAwareRoundRobinPolicy(
        "here", "left", remote
    )


class Node(NamedTuple):
    """What is drawn of a node."""

    dc: str
    rack: str
    is_up: bool | None


class Step(NamedTuple):
    """A statement with a routing key or none; before it a node may go down or come up."""

    key: bytes | None
    node: int
    is_up: bool | None
    told: bool
    """Whether the policy has heard of it yet."""


NODES = st.lists(
    st.builds(
        Node,
        st.sampled_from(["here", "here", "there"]),
        st.sampled_from(["left", "right"]),
        st.sampled_from([True, True, True, False, None]),
    ),
    min_size=1,
    max_size=9,
)
STEPS = st.lists(
    st.builds(
        Step,
        st.none() | st.binary(min_size=4, max_size=4),
        st.integers(0, 8),
        st.sampled_from([True, False, None]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
POLICY = st.tuples(
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from(["alone", "token aware", "token aware, shuffled"]),
    st.booleans(),
    st.integers(0, 2),
)


class World:
    """A cluster of many nodes as a driver sees it, without the nodes."""

    def __init__(self, nodes: list[Node], replicas: int, known: bool = True) -> None:
        self.metadata = Metadata()
        self.hosts = []
        for number, node in enumerate(nodes, start=1):
            endpoint = DefaultEndPoint(f"127.0.0.{number}")
            host = Host(endpoint, SimpleConvictionPolicy, host_id=uuid.UUID(int=number))
            host.set_location_info(node.dc, node.rack)
            host.broadcast_rpc_address = endpoint.address
            host.is_up = node.is_up
            self.hosts.append(self.metadata.add_or_return_host(host)[0])
        drawn = random.Random(len(nodes))
        owners = {
            Murmur3Token(drawn.randrange(-(2**63), 2**63)): host
            for host in self.hosts
            for _ in range(TOKENS_A_NODE)
        }
        if known:
            self.metadata.keyspaces[KEYSPACE] = KeyspaceMetadata(
                KEYSPACE,
                True,
                "NetworkTopologyStrategy",
                {"here": str(replicas), "there": str(replicas)},
            )
        self.metadata.token_map = TokenMap(Murmur3Token, owners, sorted(owners), self.metadata)
        self.cluster = SimpleNamespace(
            metadata=self.metadata,
            endpoints_resolved=[host.endpoint for host in self.hosts],
            control_connection=SimpleNamespace(_tablets_routing_v1=False),
        )

    def policy(self, name: str, awareness: str, default: bool, remote: int) -> Any:
        policy = POLICIES[name](remote)
        if awareness != "alone":
            policy = TokenAwarePolicy(policy, shuffle_replicas="shuffled" in awareness)
        if default:
            policy = DefaultLoadBalancingPolicy(policy)
        random.seed(1)  # where it begins its round
        policy.populate(self.cluster, self.hosts)
        return policy

    def planner(self) -> Planner:
        session = SimpleNamespace(cluster=self.cluster)
        if driver_name() == "cassandra-driver":
            from concurrent_exec.drivers.direct.cassandra_driver import CassandraDriver

            return Planner(session, CassandraDriver(session))
        from concurrent_exec.drivers.direct.scylla_driver import ScyllaDriver

        return Planner(session, ScyllaDriver(session))


def prepared(*, keyed: bool = True) -> Any:
    columns = [Column(KEYSPACE, TABLE, "key", None)]
    keys = [0] if keyed else None
    return PreparedStatement(columns, b"id", keys, "", KEYSPACE, 4, None, None)


def terms(statement: Any, policy: Any, level: int = ConsistencyLevel.QUORUM) -> Terms:
    return Terms(
        prepared=statement,
        query_id=b"id",
        result_metadata=Same(None),
        result_metadata_id=None,
        consistency_level=level,
        serial_consistency_level=None,
        fetch_size=None,
        timestamped=True,
        keyspace=KEYSPACE,
        table=TABLE,
        timeout=None,
        row_factory=None,
        policy=policy,
        protocol_version=4,
        beta=False,
    )


def first_of_plan(policy: Any, statement: Any, key: bytes | None, level: int) -> Any:
    query = BoundStatement(statement)
    query.consistency_level = level
    query._routing_key = key
    return next(iter(policy.make_query_plan(None, query)), None)


@settings(max_examples=5_000 if PROOF else 200)
@given(
    nodes=NODES,
    replicas=st.integers(0, 3),
    known=st.sampled_from([True, True, True, False]),
    policy=POLICY,
    level=st.sampled_from([ConsistencyLevel.QUORUM, ConsistencyLevel.SERIAL]),
    steps=STEPS,
)
def test_it_is_the_one_that_the_policy_names_first(
    nodes: list[Node],
    replicas: int,
    known: bool,
    policy: tuple[str, str, bool, int],
    level: int,
    steps: list[Step],
) -> None:
    """With nodes going down and coming up; what is shuffled is here put in order."""
    world = World(nodes, replicas, known)
    ours, theirs = world.policy(*policy), world.policy(*policy)
    planner = world.planner()
    assert planner.driver.knows_policy(ours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cassandra.policies, "shuffle", lambda hosts: hosts.sort(key=str))
        patch.setattr(routes, "choice", lambda hosts: min(hosts, key=str))
        patch.setattr(routes, "choices", lambda hosts, k: [min(hosts, key=str)] * k)
        for step in steps:
            host = world.hosts[step.node % len(world.hosts)]
            host.is_up = step.is_up
            if step.told:
                for each in (ours, theirs):
                    (each.on_up if step.is_up else each.on_down)(host)
            statement = prepared(keyed=step.key is not None)
            expected = first_of_plan(theirs, statement, step.key, level)
            sent = terms(statement, ours, level)
            found = planner.routes(sent).host(sent, step.key)
            assert found is expected, (found, expected)
            keys = [step.key, step.key and b"another", step.key]
            each = [first_of_plan(theirs, statement, key, level) for key in keys]
            assert list(planner.routes(sent).hosts(sent, keys)) == each


def test_all_near_replicas_are_first_as_often() -> None:
    world = World([Node("here", "left", True)] * 3 + [Node("there", "left", True)] * 3, 2)
    policy = world.policy("dc aware", "token aware, shuffled", False, 0)
    statement, planner = prepared(), world.planner()
    sent = terms(statement, policy)
    route = planner.routes(sent)
    for number in range(20):
        key = bytes([number] * 4)
        asked = {first_of_plan(policy, statement, key, ConsistencyLevel.ONE) for _ in range(60)}
        assert {route.host(sent, key) for _ in range(60)} == asked
        assert set(route.hosts(sent, [key] * 60)) == asked
        assert len(asked) == 2


def test_all_near_hosts_are_first_as_often_where_each_has_all() -> None:
    world = World([Node("here", "left", True)] * 3, 3)
    policy = world.policy("dc aware", "token aware, shuffled", False, 0)
    statement, planner = prepared(), world.planner()
    sent = terms(statement, policy)
    keys = [bytes([number] * 4) for number in range(100)]
    assert set(planner.routes(sent).hosts(sent, keys)) == set(world.hosts)
    world.hosts[0].is_up = False
    assert set(planner.routes(sent).hosts(sent, keys)) == set(world.hosts[1:])


def test_where_each_has_all_the_first_replica_is_the_partitions() -> None:
    world = World([Node("here", "left", True)] * 3, 3)
    policy = world.policy("dc aware", "token aware", False, 0)
    statement, planner = prepared(), world.planner()
    keys = [bytes([number] * 4) for number in range(100)]
    expected = [first_of_plan(policy, statement, key, ConsistencyLevel.ONE) for key in keys]
    sent = terms(statement, policy)
    assert list(planner.routes(sent).hosts(sent, keys)) == expected
    assert set(expected) == set(world.hosts)


def test_what_has_no_key_goes_where_the_policy_says() -> None:
    world = World([Node("here", "left", True)] * 3, 3)
    ours, theirs = (world.policy("dc aware", "token aware, shuffled", False, 0) for _ in range(2))
    statement = prepared(keyed=False)
    sent = terms(statement, ours)
    expected = [first_of_plan(theirs, statement, None, ConsistencyLevel.ONE) for _ in range(30)]
    assert list(world.planner().routes(sent).hosts(sent, [None] * 30)) == expected


def test_where_there_are_tablets_the_policy_is_asked() -> None:
    world = World([Node("here", "left", True)], 1)
    policy = world.policy("round robin", "token aware", False, 0)
    sent, tablets = terms(prepared(), policy), getattr(world.metadata, "_tablets", None)
    if tablets is not None:  # of scylla-driver
        tablets._tablets[KEYSPACE, TABLE] = ["one"]
    route = world.planner().routes(sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes.Routes, "_asked", lambda *_: "asked")
        found = set(route.hosts(sent, [b"key"] * 3))
    assert found == (set(world.hosts) if tablets is None else {"asked"})


def test_a_new_ring_is_noticed() -> None:
    world = World([Node("here", "left", True)] * 4, 1)
    policy = world.policy("dc aware", "token aware", False, 0)
    statement, planner = prepared(), world.planner()
    sent = terms(statement, policy)
    keys = [bytes([number] * 4) for number in range(100)]
    for _ in range(2):
        route = planner.routes(sent)
        expected = [first_of_plan(policy, statement, key, ConsistencyLevel.ONE) for key in keys]
        assert [route.host(sent, key) for key in keys] == expected
        assert set(expected) == set(world.hosts)
        old = world.metadata.token_map
        owners = dict(zip(old.ring, world.hosts * TOKENS_A_NODE, strict=True))
        world.metadata.token_map = TokenMap(Murmur3Token, owners, old.ring, world.metadata)


@given(
    nodes=NODES,
    replicas=st.integers(0, 9),
    known=st.booleans(),
    keys=st.lists(st.binary(max_size=4), max_size=5),
)
def test_the_replicas_are_those_of_the_ring(
    nodes: list[Node], replicas: int, known: bool, keys: list[bytes]
) -> None:
    """Also where each partition is on every node, of all data centres or of one."""
    world = World(nodes, replicas, known)
    sent = terms(prepared(), world.policy("round robin", "token aware", False, 0))
    found = world.planner().routes(sent)
    for key in keys:
        expected: Any = frozenset(world.metadata.get_replicas(KEYSPACE, key))
        assert found.replicas(key) == expected
