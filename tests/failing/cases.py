"""Every way in which a statement can fail, and what is to become of it then.

The first table has the errors that a server can answer with: every code of the protocol that the
drivers know. The second has what can happen to an answer and its connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cassandra
from cassandra import protocol
from cassandra.connection import ConnectionShutdown

from tests.failing.simulacron import Answer

Again = Literal["always", "if idempotent", "never"]
"""When `Retry` is to send a statement again that failed in some way."""

TIMEOUT = 0.3
"""Seconds that a statement may take in the cases where its answer comes late or not at all."""


@dataclass(frozen=True)
class Case:
    """One way to fail."""

    name: str
    answer: Answer
    raises: type[BaseException]
    """What the caller is to see when nothing is sent again."""
    again: Again
    code: int | None = None
    """The protocol's, if it is a server's error."""
    breaks: bool = False
    """Whether the connection breaks, and with it what else was in flight on it."""

    def __str__(self) -> str:
        return self.name


def _error(
    code: int,
    result: str,
    raises: type[BaseException],
    again: Again,
    breaks: bool = False,
    **fields: Any,
) -> Case:
    answer = {"result": result, "message": f"{result} on purpose", **fields}
    return Case(result.replace("_", " "), answer, raises, again, code, breaks)


_OF_REPLICAS: dict[str, Any] = {"consistency_level": "ONE", "received": 0, "block_for": 1}

SERVER_ERRORS = (
    _error(0x0000, "server_error", protocol.ServerError, "if idempotent"),
    _error(0x000A, "protocol_error", protocol.ProtocolException, "never", breaks=True),
    _error(0x0100, "authentication_error", protocol.BadCredentials, "never"),
    _error(
        0x1000,
        "unavailable",
        cassandra.Unavailable,
        "always",
        consistency_level="ONE",
        required=1,
        alive=0,
    ),
    _error(0x1001, "overloaded", protocol.OverloadedErrorMessage, "always"),
    _error(0x1002, "is_bootstrapping", protocol.IsBootstrappingErrorMessage, "always"),
    _error(0x1003, "truncate_error", protocol.TruncateError, "if idempotent"),
    _error(
        0x1100,
        "write_timeout",
        cassandra.WriteTimeout,
        "if idempotent",
        write_type="SIMPLE",
        **_OF_REPLICAS,
    ),
    _error(
        0x1200,
        "read_timeout",
        cassandra.ReadTimeout,
        "if idempotent",
        data_present=False,
        **_OF_REPLICAS,
    ),
    _error(
        0x1300,
        "read_failure",
        cassandra.ReadFailure,
        "if idempotent",
        data_present=False,
        failure_reasons={"127.0.0.1": "UNKNOWN"},
        **_OF_REPLICAS,
    ),
    _error(
        0x1400,
        "function_failure",
        cassandra.FunctionFailure,
        "never",
        keyspace="shop",
        function="broken",
        arg_types=["int"],
        detail="on purpose",
    ),
    _error(
        0x1500,
        "write_failure",
        cassandra.WriteFailure,
        "if idempotent",
        write_type="SIMPLE",
        failure_reasons={"127.0.0.1": "UNKNOWN"},
        **_OF_REPLICAS,
    ),
    _error(0x2000, "syntax_error", protocol.SyntaxException, "never"),
    _error(0x2100, "unauthorized", cassandra.Unauthorized, "never"),
    _error(0x2200, "invalid", cassandra.InvalidRequest, "never"),
    _error(0x2300, "config_error", protocol.ConfigurationException, "never"),
    _error(
        0x2400, "already_exists", cassandra.AlreadyExists, "never", keyspace="shop", table="users"
    ),
)

BEYOND_SIMULACRON = {
    0x1600: "a change data capture failure, of protocol 5",
    0x2500: "unprepared: it sends that only for what it has forgotten, which has a test of its own",
    0x4321: "the rate limit of ScyllaDB, whose number is agreed upon at the connection's start",
    0x8000: "a client write error, of DataStax Enterprise",
}
"""Codes that the drivers know and Simulacron can't be told to answer with."""


def _silence(name: str, answer: Answer) -> Case:
    return Case(name, answer, cassandra.OperationTimedOut, "if idempotent")


def _break(name: str, **fields: str) -> Case:
    answer = {"result": "close_connection", **fields}
    return Case(name, answer, ConnectionShutdown, "if idempotent", breaks=True)


SILENCES = (
    _silence("an answer after the timeout", {"result": "void", "delay_in_ms": 1000}),
    _silence("no answer", {"result": "no_result"}),
)

BREAKS = (
    _break("connection closed", scope="connection", close_type="disconnect"),
    _break("connection half closed", scope="connection", close_type="shutdown_write"),
    _break("all the node's connections closed", scope="node", close_type="disconnect"),
)

CASES = (*SERVER_ERRORS, *SILENCES, *BREAKS)

TOGETHER: dict[str, tuple[Case, ...]] = {
    "server errors": tuple(case for case in SERVER_ERRORS if not case.breaks),
    "silences": SILENCES,
    **{case.name: (case,) for case in CASES if case.breaks},
}
"""All cases, in groups that one run may have: who breaks the connection is alone."""
