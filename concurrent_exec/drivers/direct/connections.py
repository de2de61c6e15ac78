"""Many requests onto one connection of the driver's, with the driver's own accounting.

A connection counts what is `in_flight`, keeps the stream ids that are free, and the callback of
each that is not. All three are shared with the driver's own requests, so all is done here as
`HostConnection.borrow_connection` and `Connection.send_msg` do it, under the connection's lock.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from concurrent_exec.drivers.direct.plan import COMPRESSED
from concurrent_exec.drivers.frames import HEADER, PAYLOAD_CRC

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.request import Request


def send(connection: Any, requests: Sequence[Request], decode: Callable[..., Any]) -> int:
    """Send as many of `requests`, from the first, as the connection has stream ids for.

    Their callbacks may be called before this returns. Returns how many it has taken over; the
    others are as if nothing had happened. Raises what the connection raises if it takes none.
    """
    taken = _register(connection, requests, decode)
    if not taken:
        return 0
    pushed = 0
    try:
        for number, piece in list(_pieces(connection, requests[:taken])):
            connection.push(piece)
            pushed += number
    except BaseException as exc:
        # What has been pushed will be answered: its streams are not free, and it is not sent again.
        _unregister(connection, requests[pushed:taken])
        if not pushed or not isinstance(exc, Exception):
            raise
    return pushed


def _register(connection: Any, requests: Sequence[Request], decode: Callable[..., Any]) -> int:
    with connection.lock:
        # Asked under the lock, as a connection that dies errors under it all that it knows by then.
        if connection.is_defunct or connection.is_closed or not connection._socket_writable:
            return 0
        free: int = connection.max_request_id - connection.in_flight
        taken = min(len(requests), free)
        if taken <= 0:
            return 0
        waiting, orphaned = connection._requests, connection.orphaned_request_ids
        ids, next_id = connection.request_ids, connection.get_request_id
        for request in requests[:taken]:
            stream = ids.popleft() if ids else next_id()
            # A second answer to a request gives its id back a second time: then it is not free.
            while stream in waiting or stream in orphaned:
                stream = next_id()
            request.stream = stream
            waiting[stream] = request, decode, request.plan.result_metadata
        connection.in_flight += taken
        return taken


def _unregister(connection: Any, requests: Sequence[Request]) -> None:
    with connection.lock:
        for request in requests:
            if connection._requests.get(request.stream, (None,))[0] is request:
                del connection._requests[request.stream]
                connection.request_ids.append(request.stream)
                connection.in_flight -= 1


def _pieces(connection: Any, requests: Sequence[Request]) -> Iterator[tuple[int, bytes]]:
    """Encode requests into pieces of the size that the connection gives to its socket.

    Yields how many requests each piece has, and its bytes. A piece ends with a frame, and with
    protocol v5 with a segment. The connection itself would cut elsewhere; the server then has to
    wait for the rest of a frame or segment before it answers, and the rest for the server's
    acknowledgement (Nagle's algorithm, which the drivers leave on), which is sent after 40 ms: seen
    with v5, whose segment may hold a hundred requests.
    """
    compressor: Callable[[bytes], bytes] | None = connection.compressor
    codec = None
    room = connection.out_buffer_size
    if connection._is_checksumming_enabled:
        compressor, codec = None, connection._segment_codec
        room -= codec.header_length_with_crc + PAYLOAD_CRC
    joined: list[bytes] = []
    size = 0
    pack = HEADER.pack
    for request in requests:
        plan, body, flags = request.plan, request.body, request.plan.flags
        if compressor is not None:
            body, flags = compressor(body), flags | COMPRESSED
        length = HEADER.size + len(body)
        if joined and size + length > room:
            yield len(joined) // 2, _encoded(joined, codec)
            joined, size = [], 0
        joined += (pack(plan.version, flags, request.stream, plan.opcode, len(body)), body)
        size += length
    yield len(joined) // 2, _encoded(joined, codec)


def _encoded(frames: list[bytes], codec: Any) -> bytes:
    joined = b"".join(frames)
    if codec is None:
        return joined
    # What is longer than a segment, which is then one frame, the codec cuts into several.
    out = io.BytesIO()
    codec.encode(out, joined)
    return out.getvalue()
