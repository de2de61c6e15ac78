"""scylla-driver: a connection a shard, replicas by tablets, levels of distance."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.policies import HostDistance, RackAwareRoundRobinPolicy
from cassandra.protocol import ProtocolHandler
from cassandra.tablets import Tablets

from concurrent_exec.drivers.direct import routes
from concurrent_exec.drivers.direct.driver import (
    RESULT,
    VOID,
    VOID_BODY,
    Profile,
    execute_message,
    is_plain_rows,
    is_plain_session,
    profile_of,
)
from concurrent_exec.drivers.direct.known import takes
from concurrent_exec.drivers.direct.plan import COMPRESSED, Terms
from concurrent_exec.drivers.pages import is_page

_decode_message = ProtocolHandler.decode_message
_FEATURES_ARE_ENCODED = takes(ProtocolHandler.encode_message, "protocol_features")
_NEAREST_FIRST = (
    ((HostDistance.LOCAL_RACK,), (HostDistance.LOCAL,), (HostDistance.REMOTE,))
    if hasattr(Tablets, "table_has_tablets")  # which came with 3.29.5, too
    else ((HostDistance.LOCAL_RACK, HostDistance.LOCAL),)
)


class ScyllaDriver:
    """The internals of scylla-driver, for one session."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def is_plain(self) -> bool:
        return is_plain_session(self._session)

    def profile(self, name: Any) -> Profile | None:
        return profile_of(self._session, name)

    def knows_policy(self, policy: Any) -> bool:
        return routes.is_known(policy, RackAwareRoundRobinPolicy)

    def keeps_order(self, terms: Terms) -> bool:
        is_lwt = getattr(terms.prepared, "is_lwt", None)
        is_serial = ConsistencyLevel.is_serial(terms.consistency_level)
        return bool(is_serial or (is_lwt is not None and is_lwt()))

    def routes(self, terms: Terms) -> ScyllaRoutes:
        metadata = self._session.cluster.metadata
        return ScyllaRoutes(terms, metadata, shuffles=not self.keeps_order(terms))

    def connection(self, pool: Any, terms: Terms, routing_key: bytes | None) -> Any:
        sharded = pool.host.sharding_info is not None and routing_key is not None
        if not sharded and len(pool._connections) == 1:
            connection = next(iter(pool._connections.values()), None)
        else:
            # It also opens the connections that it finds missing or worn out.
            connection = pool._get_connection_for_routing_key(
                routing_key, terms.keyspace, terms.table
            )
        if connection is None or connection.orphaned_threshold_reached:
            return None
        return connection

    def result_metadata(self, prepared: Any) -> tuple[Any, bytes | None]:
        if hasattr(prepared, "result_metadata_and_id"):
            pair: tuple[Any, bytes | None] = prepared.result_metadata_and_id
            return pair
        return prepared.result_metadata, prepared.result_metadata_id  # of 3.29.0

    def has_one_connection(self, pool: Any) -> bool:
        return pool.host.sharding_info is None and len(pool._connections) == 1

    def dialect(self, connection: Any) -> Hashable:
        features = connection.features
        return connection.protocol_version, tuple(sorted(map(repr, vars(features).items())))

    def message(self, terms: Terms, values: list[Any], timestamp: int | None) -> Any:
        return execute_message(terms, values, timestamp)

    def encoded(self, message: Any, stream: int, connection: Any, beta: bool) -> bytes:
        features = {"protocol_features": connection.features} if _FEATURES_ARE_ENCODED else {}
        frame = ProtocolHandler.encode_message(
            message, stream, connection.protocol_version, None, beta, **features
        )
        return bytes(frame)

    @staticmethod
    def decode(
        version: int,
        features: Any,
        user_types: Any,
        stream: int,
        flags: int,
        opcode: int,
        body: bytes,
        decompressor: Any,
        result_metadata: Any,
    ) -> Any:
        if flags & COMPRESSED and version < 5:  # with v5 segments are compressed, and no frames
            body, flags = decompressor(body), flags ^ COMPRESSED
        if opcode == RESULT and not flags:
            if body == VOID_BODY:
                return VOID
            if is_page(body):
                return body
        return _decode_message(
            version,
            features,
            user_types,
            stream,
            flags,
            opcode,
            body,
            decompressor,
            result_metadata,
        )

    def decode_body(self, connection: Any, body: bytes, result_metadata: Any) -> Any:
        version, types = connection.protocol_version, connection.user_type_map
        return _decode_message(
            version, connection.features, types, 0, 0, RESULT, body, None, result_metadata
        )

    def is_plain_rows(self, response: Any) -> bool:
        # New metadata of the result, with its id: the driver keeps both for the statement.
        return is_plain_rows(response) and getattr(response, "result_metadata_id", None) is None


class ScyllaRoutes(routes.Routes):
    """Of the replicas those in the own rack come first, then the own data centre, then others.

    Before 3.29.5 own rack and own data centre are as one, and others are the policy's to order.
    Where the table has tablets, the policy itself is asked: it looks for the tablet's replicas.
    """

    def __init__(self, terms: Terms, metadata: Any, *, shuffles: bool) -> None:
        super().__init__(terms, metadata, shuffles=shuffles)
        self._table = terms.keyspace, terms.table
        self._has_tablets = False

    def refresh(self) -> None:
        super().refresh()
        of_tables = self._metadata._tablets._tablets
        self._has_tablets = bool(of_tables.get(self._table))

    def host(self, terms: Terms, routing_key: bytes | None) -> Any:
        if not self._has_tablets or routing_key is None:
            return super().host(terms, routing_key)
        return self._asked(terms, routing_key)

    def _near_everywhere(self) -> list[Any]:
        return [] if self._has_tablets else super()._near_everywhere()

    def _near(self, point: int) -> list[Any]:
        replicas = [host for host in self._replicas[self._token_map.ring[point]] if host.is_up]
        for distances in _NEAREST_FIRST:
            near = [host for host in replicas if self._policy.distance(host) in distances]
            if near:
                return near if self._shuffles else near[:1]
        return []
