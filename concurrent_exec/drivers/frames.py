"""Bytes as they come from a socket, to whole frames of the native protocol.

Up to version 4, and in each version until the connection is set up, frames stand one behind the
other. From version 5 they then stand in segments (native_protocol_v5.spec, section 2): many in one,
or a large one in many.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from functools import lru_cache
from struct import Struct
from typing import Any

HEADER = Struct(">BBhBi")
"""Version, flags, stream id, opcode and the body's length (native protocol v3 to v5, 2)."""
_VERSION = 0x7F
"""Of the first byte; the other bit says that it is an answer."""
PAYLOAD_CRC = 4
"""Bytes behind the payload of a segment."""


class MalformedFrameError(Exception):
    """What came can't be the beginning of a frame."""


Frame = tuple[int, int, int, int, bytes]
"""Version, flags, stream id, opcode and body."""


class _Pieces:
    """Bytes that come in pieces: joined once there are enough, so that each is copied once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._enough = 0

    def joined(self, data: bytes) -> bytes | None:
        """Return what was kept with `data` behind it, or None where that is not enough yet."""
        if not self._pieces:
            return data
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._enough:
            return None
        joined = b"".join(self._pieces)
        self._pieces = []
        return joined

    def keep(self, rest: bytes, enough: int) -> None:
        """Keep `rest` until there are `enough` bytes."""
        self._pieces = [rest] if rest else []
        self._size, self._enough = len(rest), enough


class FrameReader:
    """Gives the frames that are whole, whatever the pieces that they come in.

    versions: of the protocol, that are known.
    """

    def __init__(self, versions: Collection[int]) -> None:
        self._versions = versions
        self._codec: Any = None
        self._segments = _Pieces()
        self._frames = _Pieces()

    def expect_segments(self, codec: Any) -> None:
        """Take for segments what comes from now on, and what is behind the last frame.

        codec: the driver's SegmentCodec.
        """
        self._codec = codec

    def frames(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now that `data` has come.

        Raises MalformedFrameError, and what the codec raises where a checksum is wrong.
        """
        codec = self._codec
        if codec is not None:
            data = self._payload(codec, data)
        joined = self._frames.joined(data)
        if joined is None:
            return
        at, end, enough = 0, len(joined), HEADER.size
        while end - at >= HEADER.size:
            version, flags, stream, opcode, length = HEADER.unpack_from(joined, at)
            version &= _VERSION
            if version not in self._versions or length < 0:
                raise MalformedFrameError(f"version {version}, a body of {length} bytes")
            body = at + HEADER.size
            if end - body < length:
                enough = HEADER.size + length
                break
            at = body + length
            yield version, flags, stream, opcode, joined[body:at]
            if self._codec is not codec:
                yield from self.frames(joined[at:])
                return
        self._frames.keep(joined[at:], enough)

    def _payload(self, codec: Any, data: bytes) -> bytes:
        """Return what the segments hold that are whole now."""
        joined = self._segments.joined(data)
        if joined is None:
            return b""
        # The driver's own SegmentHeader.segment_length is too short by two bytes where lz4 is in
        # use and a segment is not compressed, as its header then is as long all the same.
        size = codec.header_length_with_crc
        at, end, enough = 0, len(joined), size
        payloads: list[bytes] = []
        while end - at >= size:
            header = _segment_header(codec, joined[at : at + size])
            whole = size + header.payload_length + PAYLOAD_CRC
            if end - at < whole:
                enough = whole
                break
            rest = io.BytesIO(joined[at + size : at + whole])
            payloads.append(codec.decode(rest, header).payload)
            at += whole
        self._segments.keep(joined[at:], enough)
        return b"".join(payloads)


@lru_cache(maxsize=4096)
def _segment_header(codec: Any, data: bytes) -> Any:
    # Most answers are as long as others, and the driver goes through each bit for the checksum.
    return codec.decode_header(io.BytesIO(data))
