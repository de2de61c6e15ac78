"""What an error says of the statement that it ended: applied or not, and worth another try or not.

docs/retries.md has the table of all errors with the source of each line; tests hold it and this
module together.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import cassandra
from cassandra import OperationTimedOut, Unavailable, UnsupportedOperation, WriteType
from cassandra.cluster import NoHostAvailable, UserTypeDoesNotExist
from cassandra.connection import ConnectionBusy, ConnectionException, ProtocolVersionUnsupported
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import (
    BadCredentials,
    ErrorMessage,
    FunctionFailureMessage,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    PreparedQueryNotFound,
    ProtocolException,
    ReadTimeoutErrorMessage,
    RequestValidationException,
    UnavailableErrorMessage,
    WriteTimeoutErrorMessage,
)

from concurrent_exec.model.errors import ConcurrentExecError, WorkerLostError
from concurrent_exec.retry.statements import (
    is_conditional,
    is_counter_update,
    is_idempotent,
    is_read,
    is_single_partition_write,
)

# The drivers hand an answer's ErrorMessage on as what its `to_exception` returns: for some kinds
# an exception of the package `cassandra`, for the others the message itself. Both are known here.

_RATE_LIMIT: tuple[type, ...] = ()
try:
    from cassandra import RateLimitReached
    from cassandra.protocol import RateLimitReachedException
except ImportError:  # cassandra-driver
    pass
else:
    _RATE_LIMIT = (RateLimitReached, RateLimitReachedException)

_REFUSED = (
    Unavailable,
    UnavailableErrorMessage,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
)
"""The coordinator refused it; of several writes in one it may have done some before."""

_NOT_HANDED_OUT = (ConnectionBusy, NoConnectionsAvailable, PreparedQueryNotFound)
"""It was given to no node, or to one that did not know what it was."""

_NOT_HANDED_OUT_TEXTS = (
    "Host has been marked down or removed",
    "Pool is shutdown",
    "Control connection is not connected",
)
"""What a plain ConnectionException says where there was no connection to send by."""

_HOPELESS = (
    cassandra.RequestValidationException,
    RequestValidationException,
    cassandra.FunctionFailure,
    FunctionFailureMessage,
    cassandra.AuthenticationFailed,
    BadCredentials,
    ProtocolException,
    ProtocolVersionUnsupported,
    UnsupportedOperation,
    UserTypeDoesNotExist,
    ConcurrentExecError,
    # What Python raises for values of a wrong type, number or name, while they are bound or
    # encoded; or for an answer that can't be read, and another such answer could not be either.
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)
"""The same statement would meet the same error."""

_OVERLOAD = (
    OverloadedErrorMessage,
    OperationTimedOut,
    cassandra.Timeout,
    ReadTimeoutErrorMessage,
    WriteTimeoutErrorMessage,
    ConnectionBusy,
    NoConnectionsAvailable,
    *_RATE_LIMIT,
)

_CAS_WRITE_UNKNOWN = 0x1700
"""The error code of protocol v5 that neither driver has a class for."""


class Verdict(IntEnum):
    """What is known of a statement that failed; the greater, the less may be done about it."""

    NOT_APPLIED = 0
    """It applied nothing: to send it again is safe."""
    MAYBE_APPLIED = 1
    """It may have been applied: to send it again is safe only if it is idempotent."""
    HOPELESS = 2
    """It can't succeed: to send it again is no use."""


def classify(
    error: BaseException, statement: Any, *, sent: bool, in_batch: bool = False
) -> Verdict:
    """Return what `error` says of `statement`.

    error: what the session raised or its future failed with.
    statement: as it was given to the session.
    sent: whether the session took it; an error that only an answer can bring, or a timeout, is
        judged as one whatever `sent` says.
    in_batch: whether `error` is that of a batch which had other statements too.

    A NoHostAvailable is judged by the errors that it holds, of which the worst decides.
    """
    # A coordinator may refuse a batch half-way: it is not one write, and what it is can't be seen.
    verdict = _of_error(error, None if in_batch else statement, sent)
    if verdict is Verdict.MAYBE_APPLIED and is_read(statement):
        return Verdict.NOT_APPLIED
    return verdict


def may_be_resent(
    error: BaseException,
    statement: Any,
    *,
    sent: bool,
    assume_idempotent: bool,
    in_batch: bool = False,
) -> bool:
    """Return whether `statement`, which failed with `error`, may be sent again.

    What was not applied may. What may have been applied may if it is idempotent, by its own word
    or by `assume_idempotent`; but a conditional write or an update of counters never is,
    whatever anyone says of it. What can't succeed may not. The other arguments are those of
    `classify`.
    """
    verdict = classify(error, statement, sent=sent, in_batch=in_batch)
    if verdict is Verdict.MAYBE_APPLIED:
        return (
            (assume_idempotent or is_idempotent(statement))
            and not _is_of_conditional_or_counter(error)
            and not is_conditional(statement)
            and not is_counter_update(statement)
        )
    return verdict is Verdict.NOT_APPLIED


def is_overload(error: BaseException) -> bool:
    """Return whether `error` is a sign that less should be in flight.

    That is: a node says that it is overloaded or that a rate limit was reached, anything timed
    out, at the coordinator or here, or our own connections are full. Replicas that are down
    (Unavailable) are none: a lower concurrency brings none of them back. A NoHostAvailable is a
    sign if any error that it holds is one.
    """
    if isinstance(error, NoHostAvailable):
        return any(isinstance(held, _OVERLOAD) for held in _held(error))
    return isinstance(error, _OVERLOAD)


def _of_error(error: BaseException, statement: Any, sent: bool) -> Verdict:
    if isinstance(error, NoHostAvailable):
        held = _held(error)
        if held:
            return max(_of_held(each, statement) for each in held)
        # An empty plan, as when all nodes are known to be down, leaves it empty; but so does the
        # driver's own retry when it finds no further host before the first one's error is noted.
        return Verdict.MAYBE_APPLIED if sent else Verdict.NOT_APPLIED
    if isinstance(error, _NOT_HANDED_OUT) or _says_not_handed_out(error):
        return Verdict.NOT_APPLIED
    if isinstance(error, _RATE_LIMIT):
        return _of_refusal(statement) if _is_by_coordinator(error) else Verdict.MAYBE_APPLIED
    if isinstance(error, _REFUSED):
        return _of_refusal(statement)
    if isinstance(error, WorkerLostError):
        return Verdict.MAYBE_APPLIED
    if isinstance(error, _HOPELESS) or not isinstance(error, Exception):
        return Verdict.HOPELESS
    if sent or isinstance(error, ErrorMessage | ConnectionException | OperationTimedOut):
        return Verdict.MAYBE_APPLIED
    if isinstance(error, cassandra.RequestExecutionException):
        return Verdict.MAYBE_APPLIED
    return Verdict.NOT_APPLIED


def _of_refusal(statement: Any) -> Verdict:
    # A coordinator takes the writes of one statement one after the other, and so may refuse the
    # second when the first is on its way. That of a conditional write or of a counter may be
    # about its last step, after the one that decided.
    if (
        is_single_partition_write(statement)
        and not is_conditional(statement)
        and not is_counter_update(statement)
    ):
        return Verdict.NOT_APPLIED
    return Verdict.MAYBE_APPLIED


def _of_held(error: object, statement: Any) -> Verdict:
    """Judge what a NoHostAvailable holds for one host; it may be a mere text."""
    if not isinstance(error, BaseException) or isinstance(error, NoHostAvailable):
        return Verdict.MAYBE_APPLIED
    return _of_error(error, statement, True)


def _held(error: Any) -> list[object]:
    # A copy: it is the driver's own, which other threads may write to.
    errors = error.errors
    if isinstance(errors, dict):
        return list(errors.copy().values())
    return list(errors) if isinstance(errors, list | tuple) else []


def _says_not_handed_out(error: BaseException) -> bool:
    if type(error) is not ConnectionException:
        return False
    text = str(error)
    return text in _NOT_HANDED_OUT_TEXTS or (
        text.startswith("Pool for ") and text.endswith(" is shutdown")
    )


def _info(error: Any, name: str) -> Any:
    """A detail of an answer, be it an attribute of the exception or an entry of the message."""
    info = getattr(error, "info", None)
    return info.get(name) if isinstance(info, Mapping) else getattr(error, name, None)


def _is_by_coordinator(error: Any) -> bool:
    """Whether a rate limit struck before any replica was asked."""
    return bool(_info(error, "rejected_by_coordinator"))


def _is_of_conditional_or_counter(error: BaseException) -> bool:
    """Whether the server says that it was such a write."""
    if isinstance(error, NoHostAvailable):
        return any(
            isinstance(held, BaseException)
            and not isinstance(held, NoHostAvailable)
            and _is_of_conditional_or_counter(held)
            for held in _held(error)
        )
    return (
        _info(error, "write_type") in (WriteType.CAS, WriteType.COUNTER)
        or getattr(error, "code", None) == _CAS_WRITE_UNKNOWN
    )
