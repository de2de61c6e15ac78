"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from concurrent_exec.connect import ConnectionOptions

_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = [
    click.option(
        "--contact-points",
        metavar="HOST[:PORT],...",
        help="Where the cluster is; IPv6 in brackets. [default: 127.0.0.1:9042]",
    ),
    click.option("--local-dc", metavar="NAME", help="The data center to send statements to."),
    click.option("--username", metavar="NAME", help="For a cluster that asks who you are."),
    click.option(
        "--password-file",
        type=_FILE,
        help="A file with the password. (There is no option for the password itself, because "
        "other users of the machine can see a program's arguments.)",
    ),
    click.option("--tls/--no-tls", default=None, help="Whether to use TLS."),
    click.option("--tls-ca", type=_FILE, help="The certificates to trust."),
    click.option("--tls-cert", type=_FILE, help="Your own certificate."),
    click.option("--tls-key", type=_FILE, help="Its key."),
    click.option(
        "--tls-check-hostname/--no-tls-check-hostname",
        default=None,
        help="Whether a certificate must name the host. [default: it must]",
    ),
    click.option("--config", type=_FILE, help="An INI file; its section [connection] has these."),
    click.option("--cqlshrc", type=_FILE, help="A file of cqlsh's with host, login and TLS."),
    click.option(
        "--secure-connect-bundle",
        type=_FILE,
        help="The zip file of a hosted cluster, in place of contact points and TLS.",
    ),
]


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of a connection, and the argument `connection` made of them.

    What is not given comes from the environment (CONCURRENT_EXEC_CONTACT_POINTS and so on), then
    from the file, as in ConnectionOptions.from_environment.
    """

    @functools.wraps(command)
    def with_connection(
        *args: Any,
        config: str | None,
        cqlshrc: str | None,
        secure_connect_bundle: str | None,
        tls: bool | None,
        tls_check_hostname: bool | None,
        contact_points: str | None,
        local_dc: str | None,
        username: str | None,
        password_file: str | None,
        tls_ca: str | None,
        tls_cert: str | None,
        tls_key: str | None,
        **others: Any,
    ) -> Any:
        connection = ConnectionOptions.from_environment(
            config=config,
            cqlshrc=cqlshrc,
            secure_connect_bundle=secure_connect_bundle,
            contact_points=contact_points,
            local_dc=local_dc,
            username=username,
            password_file=password_file,
            tls=_flag(tls),
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_check_hostname=_flag(tls_check_hostname),
        )
        return command(*args, connection=connection, **others)

    # click lists options in the reverse order of their decorators.
    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), with_connection)


def _flag(value: bool | None) -> str | None:
    return None if value is None else "01"[value]
