"""What of an EXECUTE message is the same for every execution of a statement with one profile."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cassandra import ProtocolVersion
from cassandra.marshal import int32_pack, uint8_pack, uint16_pack, uint32_pack, uint64_pack

from concurrent_exec.drivers.direct.binding import Binder, values_of
from concurrent_exec.drivers.frames import HEADER

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.driver import Driver

EXECUTE = 0x0A
COMPRESSED = 0x01
BETA = 0x10

_VALUES, _PAGE_SIZE, _SERIAL_CONSISTENCY, _TIMESTAMP = 0x01, 0x04, 0x10, 0x20


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


class Plan:
    """How one statement is bound and framed under certain terms."""

    __slots__ = (
        "_after",
        "_before",
        "_columns",
        "_fits",
        "binder",
        "flags",
        "result_metadata",
        "terms",
        "timeout",
        "timestamped",
        "version",
    )

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.timeout = math.inf if terms.timeout is None else terms.timeout
        """Seconds that an answer may take."""
        self.result_metadata = terms.result_metadata.it
        prepared = terms.prepared
        columns = prepared.column_metadata or ()
        self._columns = len(columns)
        self.binder = Binder(columns, prepared.routing_key_indexes, terms.protocol_version)
        self.version = terms.protocol_version
        self.flags = BETA if terms.beta else 0
        self.timestamped = terms.timestamped
        int_flags = ProtocolVersion.uses_int_query_flags(terms.protocol_version)
        flags, after = _VALUES, b""
        if terms.fetch_size:
            flags |= _PAGE_SIZE
            after += int32_pack(terms.fetch_size)
        if terms.serial_consistency_level:
            flags |= _SERIAL_CONSISTENCY
            after += uint16_pack(terms.serial_consistency_level)
        if terms.timestamped:
            flags |= _TIMESTAMP
        before = uint16_pack(len(terms.query_id)) + terms.query_id
        if ProtocolVersion.uses_prepared_metadata(terms.protocol_version):
            identity = terms.result_metadata_id or b""
            before += uint16_pack(len(identity)) + identity
        before += uint16_pack(terms.consistency_level)
        before += uint32_pack(flags) if int_flags else uint8_pack(flags)
        self._before = before + uint16_pack(self._columns)
        self._after = after
        self._fits: dict[Hashable, bool] = {}

    def body(self, encoded: Sequence[bytes], timestamp: int | None) -> bytes:
        """Return the body of the message, given the values as the binder has encoded them."""
        if timestamp is None:
            return b"".join((self._before, *encoded, self._after))
        return b"".join((self._before, *encoded, self._after, uint64_pack(timestamp)))

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

    def fits(self, connection: Any, driver: Driver) -> bool:
        """Say whether the driver, too, would put these bytes onto `connection`.

        Its own encoder is asked, once for each dialect of the protocol that connections speak.
        """
        dialect = driver.dialect(connection)
        if dialect not in self._fits:
            self._fits[dialect] = self._as_the_driver_encodes(connection, driver)
        return self._fits[dialect]

    def _as_the_driver_encodes(self, connection: Any, driver: Driver) -> bool:
        terms = self.terms
        encoded = [b"\x00\x00\x00\x01", b"x"] * self._columns
        timestamp = 1 if terms.timestamped else None
        body = self.body(encoded, timestamp)
        message = driver.message(terms, self.values(body), timestamp)
        theirs = driver.encoded(message, 0x1234, connection, terms.beta)
        ours = HEADER.pack(self.version, self.flags, 0x1234, EXECUTE, len(body)) + body
        return bool(ours == theirs)
