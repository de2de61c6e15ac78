"""The host that a session's load-balancing policy would ask first.

Only the policies of the driver are known here, by their exact classes: one of the user's may count
on seeing each statement. What the first host can't take goes through the driver, which has the
rest of the plan.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from random import choice, choices
from typing import Any

from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    DefaultLoadBalancingPolicy,
    HostDistance,
    RoundRobinPolicy,
    TokenAwarePolicy,
    WhiteListRoundRobinPolicy,
)
from cassandra.query import BoundStatement

from concurrent_exec.drivers.direct.plan import Terms

_ANY_HOST = (DCAwareRoundRobinPolicy, RoundRobinPolicy, WhiteListRoundRobinPolicy)
"""Those that don't look at the statement."""


def is_known(policy: Any, *others: type) -> bool:
    """Return whether `Routes` chooses as `policy` does.

    others: further policies of a driver that don't look at the statement.
    """
    kind = type(policy)
    if kind is TokenAwarePolicy or kind is DefaultLoadBalancingPolicy:
        return is_known(policy._child_policy, *others)
    return kind in _ANY_HOST or kind in others


class Routes:
    """The first hosts of one policy's plans for one table, for a short while.

    It looks at what the policy looks at, but notes for the time of one go which hosts are up and
    near, and from go to go which replicas each part of the ring has, until the ring or the
    keyspace's replication is known to be another.
    """

    def __init__(self, terms: Terms, metadata: Any, *, shuffles: bool = True) -> None:
        """Choose for statements under terms like these.

        shuffles: whether the policy may shuffle the replicas that these statements have.
        """
        policy = self._whole_policy = terms.policy
        while type(policy) is DefaultLoadBalancingPolicy:  # no statement of ours has a target host
            policy = policy._child_policy
        self._aware = type(policy) is TokenAwarePolicy
        self._shuffles = shuffles and self._aware and bool(policy.shuffle_replicas)
        self._policy = policy._child_policy if self._aware else policy
        self._keyspace = terms.keyspace
        self._metadata = metadata
        self._token_map: Any = None
        self._replicas: Any = None
        self._hash: Any = None
        self._tokens: list[Any] = []
        self._eligible: list[Any] = []
        self._nodes: list[Hashable] = []
        """The replicas of each part of the ring, as far as somebody has asked for them."""
        self._sets: dict[Hashable, Hashable] = {}
        """The one object for each set of replicas: so they are compared at once."""
        self._everywhere: frozenset[Any] | None = None
        """The replicas of all parts of the ring, where these are the same."""

    def refresh(self) -> None:
        """Forget what may have changed since the last go."""
        if not self._aware or self._keyspace is None:
            return
        token_map = self._metadata.token_map
        replicas = (
            None if token_map is None else token_map.tokens_to_hosts_by_ks.get(self._keyspace)
        )
        if token_map is not self._token_map or replicas is not self._replicas or replicas is None:
            self._token_map = token_map
            if token_map is not None and token_map.ring:
                if replicas is None:
                    token_map.rebuild_keyspace(self._keyspace, build_if_absent=True)
                    replicas = token_map.tokens_to_hosts_by_ks.get(self._keyspace)
                self._hash = token_map.token_class.hash_fn
                self._tokens = [token.value for token in token_map.ring]
            self._replicas = replicas
            self._nodes = [None] * len(self._tokens)
            sets = {frozenset(hosts) for hosts in replicas.values()} if replicas else ()
            self._everywhere = next(iter(sets)) if len(sets) == 1 else None
        self._eligible = [None] * len(self._tokens)

    def host(self, terms: Terms, routing_key: bytes | None) -> Any:
        """Return the host that the policy's plan for a statement begins with, or None."""
        if routing_key is None or self._token_map is None:
            return next(iter(self._policy.make_query_plan(self._keyspace, None)), None)
        if self._replicas:
            point = self._point(routing_key)
            eligible = self._eligible[point]
            if eligible is None:
                eligible = self._eligible[point] = self._near(point)
            if eligible:
                return choice(eligible) if len(eligible) > 1 else eligible[0]
        return self._asked(terms, routing_key)

    def hosts(self, terms: Terms, routing_keys: Sequence[bytes | None]) -> Sequence[Any]:
        """Return what `host` returns of each of these."""
        near = [] if None in routing_keys else self._near_everywhere()
        if near:
            several = len(near) > 1
            return choices(near, k=len(routing_keys)) if several else near * len(routing_keys)
        return [self.host(terms, key) for key in routing_keys]

    def _near_everywhere(self) -> list[Any]:
        """The hosts that may come first for whatever partition; none where its token decides."""
        if self._everywhere is None or not self._tokens:
            return []
        near = self._eligible[0]
        if near is None:
            near = self._eligible[0] = self._near(0)
        # Without a shuffle it is the first of several, which is another in another part.
        return near if self._shuffles or len(self._everywhere) == 1 else []

    def replicas(self, routing_key: bytes) -> Hashable:
        """Return the nodes that have a partition, by the ring; none where they are not known."""
        if not self._replicas:
            return frozenset(self._metadata.get_replicas(self._keyspace, routing_key))
        if self._everywhere is not None:
            return self._everywhere
        point = self._point(routing_key)
        nodes = self._nodes[point]
        if nodes is None:
            found = frozenset(self._replicas[self._token_map.ring[point]])
            nodes = self._nodes[point] = self._sets.setdefault(found, found)
        return nodes

    def _point(self, routing_key: bytes) -> int:
        """Return the place in the ring of the partition with that key."""
        tokens = self._tokens
        point = bisect_left(tokens, self._hash(routing_key))
        return point if point < len(tokens) else 0

    def _asked(self, terms: Terms, routing_key: bytes) -> Any:
        """What the policy itself begins its plan with."""
        query = BoundStatement(terms.prepared)
        query._routing_key = routing_key
        query.consistency_level = terms.consistency_level
        return next(iter(self._whole_policy.make_query_plan(self._keyspace, query)), None)

    def _near(self, point: int) -> list[Any]:
        """The replicas of a part of the ring that may come first, or none: ask the policy then."""
        near = [
            host
            for host in self._replicas[self._token_map.ring[point]]
            if host.is_up and self._policy.distance(host) == HostDistance.LOCAL
        ]
        return near if self._shuffles else near[:1]
