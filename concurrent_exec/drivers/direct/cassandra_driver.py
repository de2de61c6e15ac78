"""cassandra-driver: one connection a host."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from cassandra.protocol import ProtocolHandler

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
from concurrent_exec.drivers.direct.plan import COMPRESSED, Terms
from concurrent_exec.drivers.pages import is_page

_decode_message = ProtocolHandler.decode_message


class CassandraDriver:
    """The internals of cassandra-driver, for one session."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def is_plain(self) -> bool:
        return is_plain_session(self._session)

    def profile(self, name: Any) -> Profile | None:
        return profile_of(self._session, name)

    def knows_policy(self, policy: Any) -> bool:
        return routes.is_known(policy)

    def keeps_order(self, terms: Terms) -> bool:
        return False

    def routes(self, terms: Terms) -> routes.Routes:
        return routes.Routes(terms, self._session.cluster.metadata)

    def connection(self, pool: Any, terms: Terms, routing_key: bytes | None) -> Any:
        connection = pool._connection
        # One with too many streams orphaned is replaced when the driver next borrows it.
        if connection is None or connection.orphaned_threshold_reached:
            return None
        return connection

    def result_metadata(self, prepared: Any) -> tuple[Any, bytes | None]:
        # One after the other, as the driver does: it has every answer bring its columns.
        return prepared.result_metadata, prepared.result_metadata_id

    def has_one_connection(self, pool: Any) -> bool:
        return True

    def dialect(self, connection: Any) -> Hashable:
        version: int = connection.protocol_version
        return version

    def message(self, terms: Terms, values: list[Any], timestamp: int | None) -> Any:
        return execute_message(terms, values, timestamp)

    def encoded(self, message: Any, stream: int, connection: Any, beta: bool) -> bytes:
        frame = ProtocolHandler.encode_message(
            message, stream, connection.protocol_version, None, beta
        )
        return bytes(frame)

    @staticmethod
    def decode(
        version: int,
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
            version, user_types, stream, flags, opcode, body, decompressor, result_metadata
        )

    def decode_body(self, connection: Any, body: bytes, result_metadata: Any) -> Any:
        version, types = connection.protocol_version, connection.user_type_map
        return _decode_message(version, types, 0, 0, RESULT, body, None, result_metadata)

    def is_plain_rows(self, response: Any) -> bool:
        return is_plain_rows(response)
