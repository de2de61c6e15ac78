"""Which processes do a bulk run, and what of its input they read for themselves."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.reading import open_source
from concurrent_exec.bulk.records import Chunk, InputError
from concurrent_exec.model.options import positive_int


class Workers:
    """The processes that convert and send the records of a bulk run."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        processes: int | None = None,
        pool: Callable[[], Executor] | None = None,
    ) -> None:
        """Say which they are; none is started yet.

        connect: called once in each process; returns a driver's session, or a context manager that
            gives one, such as `partial(concurrent_exec.connect.connect, options)`. It must pickle.
        processes: how many; by default as many as there are cores.
        pool: returns a pool of one process, by default one on this machine, spawned; it is called
            for each, and again where one has died.

        Raises TypeError or ValueError naming an option that is wrong.
        """
        if not callable(connect):
            raise TypeError(f"connect must make a session, not be of {type(connect).__name__}")
        if pool is not None and not callable(pool):
            raise TypeError(f"pool must be a function that makes one, not {type(pool).__name__}")
        try:
            self.connect = pickle.dumps(connect)
            """What makes a session, pickled."""
        except Exception as exc:
            raise TypeError(
                "connect must be picklable, as a function of a module is, or a partial of one: "
                f"{exc}"
            ) from None
        given = os.cpu_count() or 1 if processes is None else processes
        self.processes = positive_int("processes", given)
        """How many there are."""
        self.pool: Callable[[], Executor] = _local_pool if pool is None else pool
        """Makes a pool of one process."""


def _local_pool() -> Executor:
    from concurrent_exec.executors.pools import LocalPool

    return LocalPool(1)


class Shards:
    """An input in parts, each of which a process reads for itself: a `Source` of nothing here."""

    bytes_read = 0
    """See `Source`."""
    total_bytes = total_records = None
    """See `Source`."""
    columns = 0
    """Each shard has its own."""

    def __init__(self, shards: Sequence[Any], names: Sequence[str]) -> None:
        """Make one.

        shards: what travels to the process that reads it: a function that returns a `Source`, or
            what `source_of` takes. If it has a method `let_go`, that is called when all of its
            records are settled.
        names: of each, as the journal keeps them.
        """
        self.shards = shards
        self.names = names

    @classmethod
    def of_files(cls, paths: Sequence[str], options: ReadingOptions | None = None) -> Shards:
        """Return one of files, which all processes see by these paths. No file is looked at."""
        if isinstance(paths, str) or not paths:
            raise InputError("give the paths of files, at least one")
        names = [os.fspath(path) for path in paths]
        return cls([partial(open_source, [name], options) for name in names], names)

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Raise InputError: nothing is read here."""
        raise InputError("the shards are read by other processes: give `workers`")

    def fingerprint(self) -> Mapping[str, Any]:
        """Return their names. What is in them is known where they are read."""
        return {"shards": list(self.names)}
