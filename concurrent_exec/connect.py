"""Contact points, user name, password and TLS, from arguments, environment or file, to a session.

    from concurrent_exec.connect import ConnectionOptions, connect

    with connect(ConnectionOptions.from_environment()) as session:
        ...

Where one thing is said in several places, the first of these counts: an argument, the environment
(CONCURRENT_EXEC_CONTACT_POINTS and so on), the file that CONCURRENT_EXEC_CONFIG names, a file of
cqlsh's that was named, the default.
"""

from __future__ import annotations

import configparser
import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concurrent_exec.cqlshrc import read_cqlshrc

__all__ = ["ConfigurationError", "ConnectionOptions", "connect", "parse_contact_points"]

DEFAULT_PORT = 9042
PREFIX = "CONCURRENT_EXEC_"

# The keys of the file's section; in upper case, after the prefix, the names in the environment.
KEYS = (
    "contact_points",
    "local_dc",
    "username",
    "password",
    "password_file",
    "tls",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "tls_check_hostname",
    "secure_connect_bundle",
)
_SECTION = "connection"
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class ConfigurationError(ValueError):
    """An option of the connection can't be used; the message names it and says what is allowed."""


@dataclass(frozen=True)
class ConnectionOptions:
    """How to reach a cluster. The password is in no repr and no message.

    contact_points: host names or addresses.
    port: of CQL, the same on every node.
    local_dc: the data center whose nodes coordinate; None means the first contact point's.
    username, password: both or neither.
    tls: whether to use TLS. The servers' certificates are always verified: against `tls_ca`, else
        against what the system trusts.
    tls_cert, tls_key: the client's own certificate and key, in PEM files.
    tls_check_hostname: whether a certificate must be for the name or address connected to.
    secure_connect_bundle: the zip file of a hosted cluster, which says where it is and how TLS is
        done there; it takes the place of contact points and all of TLS.

    Raises ConfigurationError if the options don't go together.
    """

    contact_points: tuple[str, ...] = ("127.0.0.1",)
    port: int = DEFAULT_PORT
    local_dc: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_check_hostname: bool = True
    secure_connect_bundle: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.contact_points, str) or not self.contact_points:
            raise ConfigurationError("contact_points must be a tuple of at least one host")
        if (self.username is None) != (self.password is None):
            given, missing = ("username", "password")
            if self.username is None:
                given, missing = missing, given
            raise ConfigurationError(
                f"a {given} is given without a {missing}: give both or neither "
                f"({PREFIX}USERNAME, and {PREFIX}PASSWORD or {PREFIX}PASSWORD_FILE)"
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigurationError("tls_key needs tls_cert, the certificate that it belongs to")
        if not self.tls and (self.tls_ca is not None or self.tls_cert is not None):
            raise ConfigurationError("tls_ca, tls_cert and tls_key are about TLS: give tls=True")
        if self.secure_connect_bundle is not None and (
            self.tls or self.contact_points != ConnectionOptions.contact_points
        ):
            raise ConfigurationError(
                "secure_connect_bundle says where the cluster is, and how TLS is done: give "
                "neither contact_points nor options of TLS beside it"
            )

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        cqlshrc: str | os.PathLike[str] | None = None,
        **arguments: str | None,
    ) -> ConnectionOptions:
        """Return options from arguments, environment and file, in this order of precedence.

        environment: the variables; os.environ by default. An empty value counts as not set.
        config: the file (INI, its section named "connection"); by default the one that
            CONCURRENT_EXEC_CONFIG names. A relative path in it is relative to the file's folder.
        cqlshrc: a file of cqlsh's, which counts after all others.
        arguments: any of KEYS, written as in the environment; None means not given.

        TLS is used if `tls` says so or, where that is not set, if another of its options is.
        Raises ConfigurationError that names the option and says what is allowed.
        """
        environment = os.environ if environment is None else environment
        unknown = set(arguments) - set(KEYS)
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        config = config or environment.get(PREFIX + "CONFIG")
        layers = [
            {key: _Value(value, key) for key, value in arguments.items() if value is not None},
            {
                key: _Value(environment[PREFIX + key.upper()], PREFIX + key.upper())
                for key in KEYS
                if environment.get(PREFIX + key.upper())
            },
            _read_file(Path(config)) if config else {},
            _read_cqlshrc(Path(cqlshrc)) if cqlshrc else {},
        ]
        values = {key: value for layer in reversed(layers) for key, value in layer.items()}
        hosts, port = _contact_points(values.get("contact_points"))
        tls = _boolean(values.get("tls"))
        if tls is None:
            tls = any(key.startswith("tls_") for key in values)
        # One who says no to TLS does so although a file says how it is done.
        ca, cert, key = (
            path if tls else None
            for path in [_file(values.get(name)) for name in ("tls_ca", "tls_cert", "tls_key")]
        )
        return cls(
            contact_points=hosts,
            port=port,
            local_dc=_text(values.get("local_dc")),
            username=_text(values.get("username")),
            password=_password(layers),
            tls=tls,
            tls_ca=ca,
            tls_cert=cert,
            tls_key=key,
            tls_check_hostname=_boolean(values.get("tls_check_hostname")) is not False,
            secure_connect_bundle=_file(values.get("secure_connect_bundle")),
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context that these options ask for, or None for no TLS.

        Raises ConfigurationError if a certificate or key can't be used.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:
            raise ConfigurationError(
                f"tls_ca must be a file of certificates in PEM form: {self.tls_ca} ({error})"
            ) from error
        context.check_hostname = self.tls_check_hostname
        if self.tls_cert is not None:

            def no_password() -> str:
                # Otherwise OpenSSL would ask on the terminal, and a job would hang.
                raise ConfigurationError(
                    "tls_key must not be encrypted with a password "
                    f"({self.tls_key or self.tls_cert})"
                )

            try:
                context.load_cert_chain(self.tls_cert, self.tls_key, no_password)
            except OSError as error:
                raise ConfigurationError(
                    "tls_cert and tls_key must be a certificate and its key in PEM form: "
                    f"{self.tls_cert}, {self.tls_key or 'key in the same file'} ({error})"
                ) from error
        return context


@contextmanager
def connect(
    options: ConnectionOptions | None = None,
    *,
    keyspace: str | None = None,
    **cluster_arguments: Any,
) -> Iterator[Any]:
    """Connect to a cluster; the block gets the driver's Session, which ends with it.

    options: by default from the environment.
    keyspace: which the session shall use.
    cluster_arguments: go to the driver's Cluster as they are, over those made from the options.

    The default execution profile sends each statement to a replica in the local data center.
    Raises ConfigurationError before connecting, or where the cluster has no such data center, and
    what the driver raises if it can't connect.
    """
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

    from concurrent_exec.drivers.leaving import leave_at_once

    leave_at_once()
    if options is None:
        options = ConnectionOptions.from_environment()
    arguments: dict[str, Any] = {
        **_way(options),
        **cluster_arguments,
    }
    if options.username is not None:
        arguments.setdefault(
            "auth_provider", PlainTextAuthProvider(options.username, options.password)
        )
    # Without a policy of its own the driver warns at each start.
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=options.local_dc or ""))
    arguments["execution_profiles"] = {
        EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=policy),
        **(cluster_arguments.get("execution_profiles") or {}),
    }
    cluster = Cluster(**arguments)
    try:
        with _quiet_negotiation(), _naming_the_local_dc(cluster, options.local_dc):
            session = cluster.connect(keyspace)
        yield session
    finally:
        cluster.shutdown()


@contextmanager
def _naming_the_local_dc(cluster: Any, local_dc: str | None) -> Iterator[None]:
    """Say of a data center that there is none: the driver only finds no node to send to."""
    from cassandra.cluster import NoHostAvailable

    try:
        yield
    except NoHostAvailable as error:
        there = {host.datacenter for host in cluster.metadata.all_hosts()} - {None}
        if local_dc is None or not there or local_dc in there:
            raise
        raise ConfigurationError(
            f"local_dc must be a data center of the cluster, not {local_dc!r}: "
            f"there {'is' if len(there) == 1 else 'are'} {', '.join(sorted(there))}"
        ) from error


@contextmanager
def _quiet_negotiation() -> Iterator[None]:
    """Keep the driver from warning of each protocol version that it tries and the server lacks.

    Negotiating is what it should do: to fix a version, users would have to know their server's.
    """

    def is_news(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Downgrading core protocol version")

    logger = logging.getLogger("cassandra.cluster")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _way(options: ConnectionOptions) -> dict[str, Any]:
    """Return the driver's arguments that say where the cluster is."""
    if options.secure_connect_bundle is not None:
        return {"cloud": {"secure_connect_bundle": str(options.secure_connect_bundle)}}
    return {
        "contact_points": list(options.contact_points),
        "port": options.port,
        "ssl_context": options.ssl_context(),
    }


def parse_contact_points(text: str) -> tuple[tuple[str, ...], int]:
    """Return the hosts and the port of "host[:port],host[:port]"; without a port it is 9042.

    An IPv6 address stands in brackets. Raises ConfigurationError.
    """
    return _contact_points(_Value(text, "contact_points"))


@dataclass(frozen=True)
class _Value:
    """A value as the user wrote it, and what the user calls it."""

    text: str = field(repr=False)
    name: str
    folder: Path = Path()

    def wrong(self, allowed: str) -> ConfigurationError:
        # Text with an "@" may be a URL with a password in it.
        told = "" if "@" in self.text else f", not {self.text!r}"
        return ConfigurationError(f"{self.name} must be {allowed}{told}")


def _read_file(path: Path) -> dict[str, _Value]:
    parser = configparser.RawConfigParser()  # raw: a password may hold a "%"
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigurationError(
            f"{PREFIX}CONFIG must name a file that can be read: {path} ({error.strerror})"
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        # Not the error's own text: it quotes lines, and one of them may be the password.
        line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        raise ConfigurationError(
            f"{path}{line}: must be an INI file with a section [{_SECTION}]"
        ) from None
    if not parser.has_section(_SECTION):
        raise ConfigurationError(f"{path} must have a section [{_SECTION}]")
    section = parser[_SECTION]
    unknown = set(section) - set(KEYS)
    if unknown:
        raise ConfigurationError(
            f"{path} has unknown keys: {', '.join(sorted(unknown))}; allowed: {', '.join(KEYS)}"
        )
    folder = path.absolute().parent
    return {key: _Value(text, f"{key} in {path}", folder) for key, text in section.items() if text}


def _read_cqlshrc(path: Path) -> dict[str, _Value]:
    try:
        found = read_cqlshrc(path.expanduser())
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return {key: _Value(text, f"{key} in {path}") for key, text in found.items()}


def _contact_points(value: _Value | None) -> tuple[tuple[str, ...], int]:
    if value is None:
        return ConnectionOptions.contact_points, DEFAULT_PORT
    hosts: list[str] = []
    ports: set[int] = set()
    for part in value.text.split(","):
        host, port = _host_and_port(part.strip(), value)
        hosts.append(host)
        ports.add(port)
    if len(ports) > 1:
        named = ", ".join(map(str, sorted(ports)))
        raise ConfigurationError(
            f"{value.name} must name one port for all contact points (the driver knows one only), "
            f"not {named}; where none is written it is {DEFAULT_PORT}"
        )
    return tuple(hosts), ports.pop()


def _host_and_port(text: str, value: _Value) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        usable = bool(bracket) and (not rest or rest.startswith(":"))
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        usable = True
    if not colon:
        port = str(DEFAULT_PORT)
    usable = usable and bool(host) and not set(host) & set("[]/@ \t")
    if not (usable and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise value.wrong(
            '"host[:port],host[:port],..." with ports from 1 to 65535 '
            "and IPv6 addresses in brackets"
        )
    return host, int(port)


def _password(layers: list[dict[str, _Value]]) -> str | None:
    """Return the password from the first layer that tells one, directly or by a file."""
    for layer in layers:
        direct, file = layer.get("password"), layer.get("password_file")
        if direct is not None and file is not None:
            raise ConfigurationError(f"give {direct.name} or {file.name}, not both")
        if direct is not None:
            return direct.text
        if file is not None:
            return _read_password(file)
    return None


def _read_password(file: _Value) -> str:
    path = file.folder / file.text
    try:
        # A line's end is an editor's doing and no part of the password.
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"{file.name} must name a file that can be read: {path} ({error.strerror})"
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file.name} must name a file of text: {path}") from None
    if not password or "\n" in password:
        raise ConfigurationError(f"{file.name} must name a file of exactly one line: {path}")
    return password


def _text(value: _Value | None) -> str | None:
    return None if value is None else value.text


def _file(value: _Value | None) -> Path | None:
    if value is None:
        return None
    path = value.folder / value.text
    if not path.is_file():
        raise value.wrong("a file")
    return path


def _boolean(value: _Value | None) -> bool | None:
    if value is None:
        return None
    try:
        return _BOOLEANS[value.text.strip().lower()]
    except KeyError:
        raise value.wrong('"1" or "0"') from None
