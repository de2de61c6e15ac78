"""Bytes as they come from a socket, to whole frames of the native protocol.

Up to version 4, and in each version until the connection is set up, frames stand one behind the
other. From version 5 they then stand in segments (native_protocol_v5.spec, section 2): many in one,
or a large one in many.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

HEADER = Struct(">BBhBi")
"""Version, flags, stream id, opcode and the body's length (native protocol v3 to v5, 2)."""
_VERSION = 0x7F
"""Of the first byte; the other bit says that it is an answer."""
PAYLOAD_CRC = 4
"""Bytes behind the payload of a segment."""
RESULT, VOID_BODY = 0x08, b"\x00\x00\x00\x01"
_VOID = bytes((RESULT, 0, 0, 0, len(VOID_BODY))) + VOID_BODY
"""An answer that says no more than "done", from its opcode on."""
_BEFORE_OPCODE = 4
"""Bytes: version, flags and stream id."""
_VOID_FRAME = Struct(f">BBh{len(_VOID)}s")


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
        self._versions = frozenset(versions)
        self._codec: Any = None
        self._segments = _Pieces()
        self._frames = _Pieces()

    def expect_segments(self, codec: Any) -> None:
        """Take for segments what comes from now on, and what is behind the last frame.

        codec: the driver's SegmentCodec.
        """
        self._codec = codec

    def take(self, data: bytes) -> tuple[Sequence[int], Iterator[Frame]]:
        """Return the frames that are whole now that `data` has come.

        Returns the stream ids of answers that say no more than "done", if nothing else has come,
        and all other frames, to be read to the end before more is taken.

        Raises MalformedFrameError, perhaps while the frames are read, and what the codec raises
        where a checksum is wrong.
        """
        whole = self._joined(data)
        voids = () if whole is None else self._voids(whole)
        return voids, self._from(whole, len(voids) * _VOID_FRAME.size)

    def _joined(self, data: bytes) -> bytes | None:
        """Return what begins with a frame and ends with `data`, or None if none can be whole."""
        if self._codec is not None:
            data = self._payload(self._codec, data)
        return self._frames.joined(data)

    def _voids(self, data: bytes) -> Sequence[int]:
        """Return the stream ids of the whole frames that `data` begins with, if all say "done".

        They are as long as each other: to take them in columns is a third of the work. The first
        and the last one tell nearly always whether that can be.
        """
        whole = len(data) - len(data) % _VOID_FRAME.size
        if not (data.startswith(_VOID, _BEFORE_OPCODE) and data.endswith(_VOID, 0, whole)):
            return ()
        starts, flags, streams, rest = zip(*_VOID_FRAME.iter_unpack(data[:whole]), strict=True)
        versions = {start & _VERSION for start in set(starts)}
        plain = set(rest) == {_VOID} and set(flags) == {0} and versions <= self._versions
        return streams if plain else ()

    def _from(self, joined: bytes | None, at: int) -> Iterator[Frame]:
        if joined is None:
            return
        codec = self._codec
        end, enough = len(joined), HEADER.size
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
                yield from self._from(self._joined(joined[at:]), 0)
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
