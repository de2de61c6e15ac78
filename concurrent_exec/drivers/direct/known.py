"""Whether a driver is one that we know from the inside."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import cassandra
from cassandra.cluster import ResponseFuture, Session
from cassandra.connection import Connection
from cassandra.pool import HostConnection
from cassandra.protocol import ProtocolHandler, ResultMessage
from cassandra.timestamps import MonotonicTimestampGenerator

from concurrent_exec.model import UnknownDriverError

VERSIONS = {"cassandra-driver": ((3, 29), (3, 31)), "scylla-driver": ((3, 29), (3, 30))}
"""From, and up to but without, the versions whose source was read and that the tests ran on."""

REACTORS = (
    "cassandra.io.libevreactor",
    "cassandra.io.asyncorereactor",
    "cassandra.io.asyncioreactor",
    "concurrent_exec.drivers.coalescing",
)
"""Where the connection classes come from whose `push` and `create_timer` are known."""

PROTOCOLS = (4, 5)

_SIGNATURES: tuple[tuple[Callable[..., Any], str], ...] = (
    (Session._create_response_future, "query parameters trace custom_payload timeout"),
    (Session._maybe_get_execution_profile, "ep"),
    (ResponseFuture._set_result, "host connection pool response"),
    (ResponseFuture._on_timeout, "_attempts"),
    (MonotonicTimestampGenerator._next_timestamp, "now last"),
    (Connection.get_request_id, ""),
    (Connection.process_msg, "header body"),
    (Connection.error_all_requests, "exc"),
    (HostConnection.return_connection, "connection stream_was_orphaned"),
    (
        ProtocolHandler.encode_message,
        "msg stream_id protocol_version compressor allow_beta_protocol_version",
    ),
    (ResultMessage.recv_results_metadata, "f user_type_map"),
)
"""Functions of the driver, and the first parameters of theirs that we rely on."""

_OF_SESSIONS = (
    "_metrics",
    "_pools",
    "_protocol_version",
    "_request_init_callbacks",
    "client_protocol_handler",
    "default_fetch_size",
    "is_shutdown",
    "use_client_timestamp",
)
_OF_CLUSTERS = (
    "_config_mode",
    "allow_beta_protocol_version",
    "connection_class",
    "metadata",
    "timestamp_generator",
)
_OF_CONNECTIONS = (
    "_is_checksumming_enabled",
    "_requests",
    "_socket_writable",
    "compressor",
    "defunct",
    "in_flight",
    "is_closed",
    "is_defunct",
    "lock",
    "max_request_id",
    "orphaned_request_ids",
    "orphaned_threshold_reached",
    "out_buffer_size",
    "protocol_version",
    "push",
    "request_ids",
    "user_type_map",
)
_OF_POOLS = ("_stream_available_condition", "host", "is_shutdown")


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Return whether a function has a parameter of that name."""
    return parameter in inspect.signature(function).parameters


def driver_name() -> str:
    """Return which of the two drivers is installed."""
    is_scylla = hasattr(HostConnection, "_get_connection_for_routing_key")
    return "scylla-driver" if is_scylla else "cassandra-driver"


def is_known_driver() -> bool:
    """Return whether the driver that is installed is as we know it."""
    return _difference(driver_name(), cassandra.__version__, _SIGNATURES) is None


def check(session: Any) -> str:
    """Return the name of the driver of `session`.

    Raises UnknownDriverError, with the reason, where it or the session is not as we know it.
    """
    if type(session) is not Session:
        raise UnknownDriverError(f"the session is not a driver's own, but a {_name(session)}")
    name = driver_name()
    differs = _difference(name, cassandra.__version__, _SIGNATURES)
    if differs:
        raise UnknownDriverError(differs)
    _check_has("the session", session, _OF_SESSIONS)
    _check_has("the cluster", session.cluster, _OF_CLUSTERS)
    reactor = session.cluster.connection_class
    if reactor.__module__ not in REACTORS:
        raise UnknownDriverError(f"connections of the class {reactor.__qualname__} are not known")
    if session._protocol_version not in PROTOCOLS:
        raise UnknownDriverError(f"protocol version {session._protocol_version} is not known")
    for pool in list(session._pools.values()):
        _check_has("the pool", pool, _OF_POOLS)
        for connection in pool.get_connections():
            _check_has("the connection", connection, _OF_CONNECTIONS)
    return name


@cache  # it takes as long as some statements, and "auto" looks at each call
def _difference(
    name: str, version: str, signatures: tuple[tuple[Callable[..., Any], str], ...]
) -> str | None:
    """Return what of the driver itself is not as we know it, or None."""
    first, beyond = VERSIONS[name]
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or not first <= (int(found[1]), int(found[2])) < beyond:
        return f"{name} {version} is not a version we know"
    for function, parameters in signatures:
        theirs = [each for each in inspect.signature(function).parameters if each != "self"]
        ours = parameters.split()
        if theirs[: len(ours)] != ours:
            return f"{function.__qualname__} takes {theirs}, and not {ours}"
    return None


def _check_has(what: str, thing: Any, names: Iterable[str]) -> None:
    for name in names:
        if not hasattr(thing, name):
            raise UnknownDriverError(f"{what}, a {_name(thing)}, has no {name}")


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
