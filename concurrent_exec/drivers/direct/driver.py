"""What `SessionWire` needs to know of a driver, and where the two drivers differ."""

from __future__ import annotations

import io
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from cassandra.cluster import EXEC_PROFILE_DEFAULT, _ConfigMode
from cassandra.policies import NoSpeculativeExecutionPolicy
from cassandra.protocol import ExecuteMessage, ProtocolHandler, ResultMessage

from concurrent_exec.drivers.direct.plan import Terms
from concurrent_exec.drivers.timestamps import FirstTimestamps

VOID = object()
"""Stands for the message of an answer that says no more than "done"."""
VOID_BODY = b"\x00\x00\x00\x01"
RESULT, ROWS, VOID_KIND = 0x08, 0x0002, 0x0001


class Profile(NamedTuple):
    """What the driver takes from an execution profile, or from a session that has none."""

    consistency_level: int
    serial_consistency_level: int | None
    request_timeout: float | None
    row_factory: Any
    load_balancing_policy: Any
    never_speculates: bool


class Routes(Protocol):
    """The hosts that a load-balancing policy would ask first."""

    def refresh(self) -> None:
        """Forget what may have changed since the last go."""

    def host(self, terms: Terms, routing_key: bytes | None) -> Any:
        """Return the host that the policy's plan for a statement begins with, or None."""

    def hosts(self, terms: Terms, routing_keys: Sequence[bytes | None]) -> Sequence[Any]:
        """Return what `host` returns of each of these."""

    def replicas(self, routing_key: bytes) -> Hashable:
        """Return the nodes that have a partition, by the ring; none where they are not known."""


class Driver(Protocol):
    """The internals of one driver, for one session of its."""

    def is_plain(self) -> bool:
        """Say whether, at this moment, statements of the session need no ResponseFuture."""

    def profile(self, name: Any) -> Profile | None:
        """Return the profile `name`, or None where its statements are for `execute_async`."""

    def knows_policy(self, policy: Any) -> bool:
        """Say whether `routes` chooses as that load-balancing policy does."""

    def keeps_order(self, terms: Terms) -> bool:
        """Say whether replicas are taken in the ring's order where others are shuffled."""

    def routes(self, terms: Terms) -> Routes:
        """Return what finds the first host of the policy's plans.

        It serves all statements of the same policy, keyspace and table that alike keep the order.
        """

    def connection(self, pool: Any, terms: Terms, routing_key: bytes | None) -> Any:
        """Return the connection of a host's pool for a statement, or None where there is none."""

    def result_metadata(self, prepared: Any) -> tuple[Any, bytes | None]:
        """Return the columns of a statement's rows and the id of these, of one moment."""

    def has_one_connection(self, pool: Any) -> bool:
        """Say whether `connection` returns the same one for all statements, at this moment."""

    def dialect(self, connection: Any) -> Hashable:
        """Return what tells connections apart that may need different bytes of one message."""

    def message(self, terms: Terms, values: list[Any], timestamp: int | None) -> Any:
        """Return the driver's message for a statement bound to serialised values."""

    def encoded(self, message: Any, stream: int, connection: Any, beta: bool) -> bytes:
        """Return the frame that the driver would send, uncompressed."""

    def decode(self, *frame: Any) -> Any:
        """Decode an answer as the driver does, but for two kinds of plain ones.

        One that only says "done" is `VOID`; of a page of rows the body is left as it is.
        """

    def decode_body(self, connection: Any, body: bytes, result_metadata: Any) -> Any:
        """Decode the body of a RESULT message without flags, as the driver does."""

    def is_plain_rows(self, response: Any) -> bool:
        """Say whether an answer is one page of rows, without anything else in it."""


def profile_of(session: Any, name: Any) -> Profile | None:
    """Return the profile `name` of a session, or None where only the driver can use it."""
    cluster = session.cluster
    if cluster._config_mode is _ConfigMode.LEGACY:
        if name is not EXEC_PROFILE_DEFAULT:
            return None
        return Profile(
            session.default_consistency_level,
            session.default_serial_consistency_level,
            session.default_timeout,
            session.row_factory,
            cluster.load_balancing_policy,
            True,
        )
    try:
        profile = session._maybe_get_execution_profile(name)
    except ValueError:  # there is none of that name: the driver will say so
        return None
    if profile.continuous_paging_options:
        return None
    speculation = profile.speculative_execution_policy
    return Profile(
        profile.consistency_level,
        profile.serial_consistency_level,
        profile.request_timeout,
        profile.row_factory,
        profile.load_balancing_policy,
        speculation is None or type(speculation) is NoSpeculativeExecutionPolicy,
    )


def is_plain_session(session: Any) -> bool:
    """Say whether nothing of the session's must see each request or answer."""
    return (
        session._metrics is None
        and session.client_protocol_handler is ProtocolHandler
        and all(
            getattr(listener[0], "__func__", None) is FirstTimestamps._on_request
            for listener in session._request_init_callbacks
        )
    )


def execute_message(terms: Terms, values: list[Any], timestamp: int | None) -> Any:
    """Return the driver's message for a statement bound to serialised values."""
    return ExecuteMessage(
        terms.query_id,
        values,
        terms.consistency_level,
        terms.serial_consistency_level,
        terms.fetch_size,
        None,
        timestamp,
        skip_meta=bool(terms.result_metadata.it),
        result_metadata_id=terms.result_metadata_id,
    )


def columns_of(body: bytes, user_types: Any, result_metadata: Any) -> tuple[bytes, int]:
    """Return what is in front of the number of rows in a page's body, and how many columns it has.

    Raises what the driver raises where it can't read that.
    """
    to_read = io.BytesIO(body)
    message = ResultMessage(int.from_bytes(to_read.read(4)))
    message.recv_results_metadata(to_read, user_types)
    return body[: to_read.tell()], len(message.column_metadata or result_metadata)


def is_plain_rows(response: Any) -> bool:
    """Say whether an answer is one page of rows, without anything else in it."""
    return (
        isinstance(response, ResultMessage)
        and response.kind == ROWS
        and response.paging_state is None
        and response.trace_id is None
        and response.warnings is None
        and response.custom_payload is None
    )


def is_warned_void(response: Any) -> bool:
    """Say whether an answer says "done", and has warnings of the server's, and nothing else."""
    return (
        isinstance(response, ResultMessage)
        and response.kind == VOID_KIND
        and response.trace_id is None
        and response.custom_payload is None
    )
