"""The command line's root, and the one place where errors become words and exit statuses."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import click

from .cassandra import cassandra
from .compare import compare
from .errors import EXPECTED, in_words
from .group import SuggestingGroup
from .run import run as run_command
from .streams import say

PROGRAM = "concurrent-exec"
_INTERRUPTED = 130  # what shells call a program that Ctrl-C ended


def _version() -> str:
    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


@click.group(cls=SuggestingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name=PROGRAM)
def app() -> None:
    """Run many CQL statements at once on Apache Cassandra or ScyllaDB.

    \b
    Examples:
      concurrent-exec run 'INSERT INTO shop.users (id, name) VALUES (:id, :name)' users.csv
      concurrent-exec cassandra start            a real Cassandra on this machine
      concurrent-exec cassandra start --nodes 3
      concurrent-exec cassandra status
      concurrent-exec cassandra stop
      concurrent-exec compare 'SELECT * FROM shop.users WHERE id = ?' --parameters ids.csv

    Exit status: 0 done, 1 an error, 2 wrong usage, 130 interrupted.
    """


app.add_command(cassandra)
app.add_command(compare)
app.add_command(run_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name; return the exit status. Errors are one plain line."""
    try:
        status = app.main(
            args=None if arguments is None else list(arguments),
            prog_name=PROGRAM,
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        say(f"{PROGRAM}: interrupted")
        return _INTERRUPTED
    except EXPECTED as error:
        return _fail(in_words(error))
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    say(f"{PROGRAM}: error: {message}")
    return 1
