"""TLS for servers on loopback: a certificate made for the run, and the server's side of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from threading import Lock


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority, and its key: files in PEM form."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """Make one, with the command line of OpenSSL, which comes with every JDK of Debian's."""
        made = cls(folder / "certificate.pem", folder / "key.pem")
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=loopback -keyout"
        subprocess.run(
            [*command.split(), made.key, "-out", made.certificate], check=True, capture_output=True
        )
        return made

    def client(self) -> ssl.SSLContext:
        """Return what a driver takes as `ssl_context`: it trusts this one, on any address."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        return context

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def of_cassandra(self) -> dict[str, object]:
        """Return the settings of a Cassandra that takes TLS, and on the same port what has none."""
        return {
            "client_encryption_options": {
                "enabled": True,
                "optional": True,
                "ssl_context_factory": {
                    "class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory",
                    "parameters": {
                        # The chain of certificates stands behind the key.
                        "private_key": self.key.read_text() + self.certificate.read_text(),
                        "trusted_certificates": self.certificate.read_text(),
                    },
                },
            }
        }


class TlsSocket:
    """The server's side of a connection with TLS, for a thread that reads and others that write.

    Python's own SSLSocket is for one thread at a time, and has no way to send a part of a record.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._lock = Lock()
        self._is_open = False

    def encrypted(self, data: bytes) -> bytes:
        """Return the records of `data`: they must be sent before those of a later call."""
        with self._lock:
            self._tls.write(data)
            return self._outgoing.read()

    def send_encrypted(self, records: bytes) -> None:
        self._socket.sendall(records)

    def sendall(self, data: bytes) -> None:
        self.send_encrypted(self.encrypted(data))

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    if not self._is_open:
                        self._tls.do_handshake()
                        self._is_open = True
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    answer = self._outgoing.read()
                except ssl.SSLError:
                    return b""
            if answer:
                self._socket.sendall(answer)
            received = self._socket.recv(65536)
            if not received:
                return b""
            self._incoming.write(received)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()
