"""What of an EXECUTE message is the same for every execution of a statement with one profile."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from copy import copy
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from cassandra import ProtocolVersion
from cassandra.marshal import int32_pack, uint8_pack, uint16_pack, uint32_pack, uint64_pack
from cassandra.query import BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct.binding import Binder, Columns, values_of
from concurrent_exec.drivers.frames import HEADER

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.batches import BatchTerms
    from concurrent_exec.drivers.direct.driver import Driver
    from concurrent_exec.run import Message

EXECUTE = 0x0A
COMPRESSED = 0x01
BETA = 0x10

_VALUES, _PAGE_SIZE, SERIAL_CONSISTENCY, TIMESTAMP = 0x01, 0x04, 0x10, 0x20


class Same:
    """Stands for one object among others that are equal to it, and makes it hashable."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


class Terms(NamedTuple):
    """All that decides how a statement is sent, as it is at the moment of sending."""

    prepared: Any
    query_id: bytes
    result_metadata: Same
    """The columns of its rows, for an answer that leaves them out as the id says that we know."""
    result_metadata_id: bytes | None
    consistency_level: int
    serial_consistency_level: int | None
    fetch_size: int | None
    timestamped: bool
    keyspace: str | None
    table: str | None
    timeout: float | None
    row_factory: Any
    policy: Any
    protocol_version: int
    beta: bool


class Framed(ABC):
    """How messages of one kind are framed under certain terms."""

    __slots__ = (
        "_fits",
        "columns",
        "flags",
        "result_metadata",
        "row_factory",
        "timeout",
        "timestamped",
        "version",
    )

    opcode: ClassVar[int]

    def __init__(self, terms: Terms | BatchTerms, result_metadata: Any = None) -> None:
        self.timeout = math.inf if terms.timeout is None else terms.timeout
        """Seconds that an answer may take."""
        self.timestamped = terms.timestamped
        self.version = terms.protocol_version
        self.flags = BETA if terms.beta else 0
        self.row_factory = terms.row_factory
        self.result_metadata = result_metadata
        self.columns: tuple[bytes, int] | None = None
        """What a page of its rows began with, up to their number, and how many columns it had."""
        self._fits: dict[Hashable, bool] = {}

    @abstractmethod
    def query(self, message: Message, body: bytes) -> Any:
        """Return a message that was sent with this body as a statement for the driver to go on."""

    def fits(self, connection: Any, driver: Driver) -> bool:
        """Say whether the driver, too, would put these bytes onto `connection`.

        Its own encoder is asked, once for each dialect of the protocol that connections speak.
        """
        dialect = driver.dialect(connection)
        if dialect not in self._fits:
            body, message = self._sample(driver)
            beta = bool(self.flags & BETA)
            theirs = driver.encoded(message, 0x1234, connection, beta)
            ours = HEADER.pack(self.version, self.flags, 0x1234, self.opcode, len(body)) + body
            self._fits[dialect] = bool(ours == theirs)
        return self._fits[dialect]

    @abstractmethod
    def _sample(self, driver: Driver) -> tuple[bytes, Any]:
        """Return a body of ours, and the driver's message that should be the same."""


class Plan(Framed):
    """How one statement is bound and framed under certain terms."""

    __slots__ = ("_after", "_before", "_columns", "as_part", "binder", "terms")

    opcode = EXECUTE

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms, terms.result_metadata.it)
        self.terms = terms
        prepared = terms.prepared
        columns = prepared.column_metadata or ()
        self._columns = len(columns)
        self.binder = Binder(columns, prepared.routing_key_indexes, terms.protocol_version)
        int_flags = ProtocolVersion.uses_int_query_flags(terms.protocol_version)
        flags, after = _VALUES, b""
        if terms.fetch_size:
            flags |= _PAGE_SIZE
            after += int32_pack(terms.fetch_size)
        if terms.serial_consistency_level:
            flags |= SERIAL_CONSISTENCY
            after += uint16_pack(terms.serial_consistency_level)
        if terms.timestamped:
            flags |= TIMESTAMP
        identity = uint16_pack(len(terms.query_id)) + terms.query_id
        before = identity
        if ProtocolVersion.uses_prepared_metadata(terms.protocol_version):
            of_result = terms.result_metadata_id or b""
            before += uint16_pack(len(of_result)) + of_result
        before += uint16_pack(terms.consistency_level)
        before += uint32_pack(flags) if int_flags else uint8_pack(flags)
        self._before = before + uint16_pack(self._columns)
        self._after = after
        self.as_part = b"\x01" + identity + uint16_pack(self._columns)
        """What stands before its values where it is a part of a batch."""

    def body(self, encoded: Sequence[bytes], timestamp: int | None) -> bytes:
        """Return the body of the message, given the values as the binder has encoded them."""
        if timestamp is None:
            return b"".join((self._before, *encoded, self._after))
        return b"".join((self._before, *encoded, self._after, uint64_pack(timestamp)))

    def bodies(self, columns: Columns, timestamps: Sequence[int | None]) -> list[bytes]:
        """Return what `body` returns of each of these executions."""
        pieces: list[Iterable[bytes]] = [repeat(self._before), *columns.values, repeat(self._after)]
        if self.timestamped:
            pieces.append(map(uint64_pack, timestamps))
        return list(map(b"".join, zip(*pieces, strict=False)))

    def values(self, body: bytes) -> list[Any]:
        """Return the values in a body of this plan's, as a bound statement of the driver's does."""
        encoded: list[bytes] = []
        at = len(self._before)
        for _ in range(self._columns):
            size = int.from_bytes(body[at : at + 4], signed=True)
            end = at + 4 + max(size, 0)
            encoded += (body[at : at + 4], body[at + 4 : end])
            at = end
        return values_of(encoded)

    def query(self, message: Message, body: bytes) -> Any:
        if type(message.statement) is PreparedStatement:
            query = BoundStatement(message.statement)
            query.raw_values = message.parameters
        else:
            query = copy(message.statement)
        query.values = self.values(body)
        return query

    def _sample(self, driver: Driver) -> tuple[bytes, Any]:
        timestamp = 1 if self.timestamped else None
        body = self.body([b"\x00\x00\x00\x01", b"x"] * self._columns, timestamp)
        return body, driver.message(self.terms, self.values(body), timestamp)
