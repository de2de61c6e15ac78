"""What cqlsh's own file says of a connection.

Its sections and keys are those of Cassandra's documentation of cqlsh (conf/cqlshrc.sample); of
them those count that are about hosts, login and TLS.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

_KEYS = {
    ("authentication", "username"): "username",
    ("authentication", "password"): "password",
    ("ssl", "certfile"): "tls_ca",
    ("ssl", "usercert"): "tls_cert",
    ("ssl", "userkey"): "tls_key",
    ("connection", "ssl"): "tls",
}
"""The connection's key by section and key there."""
_LOGIN = "PlainTextAuthProvider"
"""The section of the file of credentials."""


def read_cqlshrc(path: Path) -> dict[str, str]:
    """Return what the file at `path` says, by the names of `connect.KEYS`.

    Raises ValueError, which names the file, where it can't be read, or asks for what there is not.
    """
    file = _parsed(path)
    found = {
        name: file[section][key]
        for (section, key), name in _KEYS.items()
        if file.has_option(section, key) and file[section][key]
    }
    connection: Mapping[str, str] = file["connection"] if file.has_section("connection") else {}
    host, port = connection.get("hostname"), connection.get("port")
    if host:
        host = f"[{host}]" if ":" in host else host
        found["contact_points"] = f"{host}:{port}" if port else host
    if file.has_option("ssl", "validate") and file["ssl"]["validate"].lower() in _OFF:
        raise ValueError(
            f"{path} switches the verification of certificates off, which is always on here: name "
            "the certificates to trust as certfile in its section [ssl]"
        )
    for name in ("tls_ca", "tls_cert", "tls_key"):
        if name in found:
            found[name] = str(path.parent / Path(found[name]).expanduser())
    if file.has_option("authentication", "credentials"):
        found |= _credentials(
            path.parent / Path(file["authentication"]["credentials"]).expanduser()
        )
    return found


_OFF = ("false", "0", "no", "off")


def _credentials(path: Path) -> dict[str, str]:
    file = _parsed(path)
    if not file.has_section(_LOGIN):
        raise ValueError(f"{path} must have a section [{_LOGIN}]")
    return {key: file[_LOGIN][key] for key in ("username", "password") if key in file[_LOGIN]}


def _parsed(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()  # raw: a password may hold a "%"
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError):
        # Not the error's own text: it quotes lines, and one of them may be the password.
        raise ValueError(f"{path} must be an INI file, as cqlsh has it") from None
    return parser
