"""Many writes in one BATCH message of ours (native protocol, BATCH)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cassandra import ProtocolVersion
from cassandra.marshal import uint8_pack, uint16_pack, uint32_pack, uint64_pack
from cassandra.protocol import BatchMessage
from cassandra.query import BatchType

from concurrent_exec.drivers.direct.plan import (
    SERIAL_CONSISTENCY,
    TIMESTAMP,
    Framed,
    Plan,
    Same,
)

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.driver import Driver
    from concurrent_exec.run import Message

BATCH = 0x0D
_KEYSPACE = 0x80


class BatchTerms(NamedTuple):
    """All that a batch has once for its statements, as it is at the moment of sending."""

    consistency_level: int
    serial_consistency_level: int | None
    timestamped: bool
    keyspace: str | None
    timeout: float | None
    row_factory: Any
    policy: Any
    protocol_version: int
    beta: bool
    retry_policy: Same
    is_idempotent: bool

    @classmethod
    def of(cls, plan: Plan, statement: Any) -> BatchTerms:
        """Return those of a statement, prepared or bound, that has this plan."""
        terms = plan.terms
        return cls(
            consistency_level=terms.consistency_level,
            serial_consistency_level=terms.serial_consistency_level,
            timestamped=terms.timestamped,
            keyspace=terms.keyspace,
            timeout=terms.timeout,
            row_factory=terms.row_factory,
            policy=terms.policy,
            protocol_version=terms.protocol_version,
            beta=terms.beta,
            retry_policy=Same(statement.retry_policy),
            is_idempotent=bool(statement.is_idempotent),
        )


class BatchPlan(Framed):
    """How an UNLOGGED batch is framed under certain terms."""

    __slots__ = ("_after", "_before", "_keyspace", "_terms")

    opcode = BATCH

    def __init__(self, terms: BatchTerms) -> None:
        super().__init__(terms)
        self._terms = terms
        self._before = uint8_pack(BatchType.UNLOGGED.value)
        flags, after, self._keyspace = 0, b"", b""
        if terms.serial_consistency_level:
            flags |= SERIAL_CONSISTENCY
            after = uint16_pack(terms.serial_consistency_level)
        if terms.timestamped:
            flags |= TIMESTAMP
        if terms.keyspace and ProtocolVersion.uses_keyspace_flag(terms.protocol_version):
            flags |= _KEYSPACE
            name = terms.keyspace.encode()
            self._keyspace = uint16_pack(len(name)) + name
        int_flags = ProtocolVersion.uses_int_query_flags(terms.protocol_version)
        packed = uint32_pack(flags) if int_flags else uint8_pack(flags)
        self._after = uint16_pack(terms.consistency_level) + packed + after

    def body(self, parts: Sequence[tuple[Plan, Sequence[bytes]]], timestamp: int | None) -> bytes:
        """Return the body of the message of these statements, whose values are encoded."""
        pieces = [self._before, uint16_pack(len(parts))]
        for plan, encoded in parts:
            pieces.append(plan.as_part)
            pieces += encoded
        pieces.append(self._after)
        if timestamp is not None:
            pieces.append(uint64_pack(timestamp))
        pieces.append(self._keyspace)
        return b"".join(pieces)

    def query(self, message: Message, body: bytes) -> Any:
        return message.statement

    def _sample(self, driver: Driver) -> tuple[bytes, Any]:
        terms = self._terms
        timestamp = 1 if terms.timestamped else None
        keyspace = terms.keyspace if self._keyspace else None
        body = b"".join((self._before, b"\0\0", self._after))
        body += b"" if timestamp is None else uint64_pack(timestamp)
        message = BatchMessage(
            BatchType.UNLOGGED,
            [],
            terms.consistency_level,
            terms.serial_consistency_level,
            timestamp,
            keyspace,
        )
        return body + self._keyspace, message
