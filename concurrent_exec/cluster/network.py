"""Ports: is one free, and does the server behind it answer CQL?"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from .errors import ClusterError

# The request OPTIONS of the native protocol, version 4, which needs no login: nine bytes, version,
# flags, stream (2), opcode, length (4). A server answers it with the opcode SUPPORTED.
_OPTIONS = bytes([0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00])
_OPCODE_AT = 4
_HEADER_LENGTH = 9
_SUPPORTED = 0x06


def answers_cql(address: str, port: int, timeout: float = 2.0) -> bool:
    """Whether a server there answers the native protocol within `timeout` seconds."""
    header = b""
    with suppress(OSError), socket.create_connection((address, port), timeout) as connection:
        connection.sendall(_OPTIONS)
        while len(header) < _HEADER_LENGTH:
            data = connection.recv(_HEADER_LENGTH - len(header))
            if not data:
                break
            header += data
    return len(header) == _HEADER_LENGTH and header[_OPCODE_AT] == _SUPPORTED


def check_port(address: str, port: int) -> None:
    """Raise ClusterError if a server could not listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As Java does: connections of an earlier server that are still closing don't count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(1)
        except OSError as error:
            raise ClusterError(_why_not(address, port, error)) from error


def _why_not(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = " by a server that answers CQL" if answers_cql(address, port, 0.5) else ""
        return f"port {port} on {address} is in use{who}; stop that, or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {address} is not allowed to this user; choose one above 1023"
    return f"port {port} on {address} can't be used: {error.strerror}"
