"""The table of the example: the latest post of each author. `python -m examples.service.posts`
makes it, in the cluster that CONCURRENT_EXEC_CONTACT_POINTS names.
"""

from __future__ import annotations

from typing import Any

from concurrent_exec import CallbackExecutor
from concurrent_exec.connect import connect

KEYSPACE = "concurrent_exec_example"
LATEST = f"SELECT text FROM {KEYSPACE}.posts WHERE author = ?"
AUTHORS, FOLLOWED = 2_000, 500


def followed_by(reader: int) -> list[tuple[int]]:
    """Return the parameters of `LATEST` for each author that somebody follows."""
    return [((reader + number) % AUTHORS,) for number in range(FOLLOWED)]


def post_of(author: int) -> str:
    return f"the latest post of author {author}"


def make_table(session: Any) -> None:
    """Make the keyspace and its table, with a post of each author."""
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(
        f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.posts (author int PRIMARY KEY, text text)"
    )
    insert = session.prepare(f"INSERT INTO {KEYSPACE}.posts (author, text) VALUES (?, ?)")
    with CallbackExecutor(session) as executor:
        executor.map(insert, [(author, post_of(author)) for author in range(AUTHORS)]).all()


if __name__ == "__main__":
    with connect() as session:
        make_table(session)
