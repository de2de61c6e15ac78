"""The workers of a Dask cluster, for what elsewhere is done by processes of this machine.

A portion of a bulk run is done by one worker process, over a session of its own; what is handed
out, counted, written and kept in the journal stays where the run is started (`bulk.spreading`).
A worker runs each portion once or not at all, whatever Dask would do (`executors.dask_pool`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Unpack

from concurrent_exec.bulk import BulkOptions, Report, Shards, Workers
from concurrent_exec.bulk import run as run_in_bulk
from concurrent_exec.executors.dask_pool import Crew, DaskError, Partition
from concurrent_exec.executors.lanes import Lanes
from concurrent_exec.executors.opening import open_session

PATIENCE = 10.0
"""Seconds in which a scheduler must answer."""


def workers_on(client: Any, connect: Callable[[], Any], processes: int | None = None) -> Workers:
    """Return the workers of a cluster, for the option `workers` of a bulk run.

    client: a `distributed.Client`.
    connect: makes a session in each worker, as `Workers` says.
    processes: how many workers to take, by default all that there are now. Limits are shared among
        so many; one that is started later takes the place of one that has gone.

    Raises DaskError where there is none, or where one of them lacks this package.
    """
    crew = Crew(client)
    return Workers(connect, processes=_count(crew, processes), pool=crew.take)


def pool_on(client: Any, processes: int | None = None) -> Callable[[], Executor]:
    """Return what makes a pool over the workers of a cluster, for `ProcessExecutor(pool=...)`.

    It does what `client.get_executor` does there, and counts the workers. Raises DaskError where
    there is none, or where one of them lacks this package.
    """
    crew = Crew(client)
    return partial(Lanes, _count(crew, processes), crew.take)


def _count(crew: Crew, processes: int | None) -> int:
    there = len(crew.check())
    if not there:
        raise DaskError("the Dask cluster has no workers: start some with `dask worker`")
    return there if processes is None else processes


@contextmanager
def workers_at(
    address: str, connect: Callable[[], Any], processes: int | None = None
) -> Iterator[Workers]:
    """Give the workers of the cluster whose scheduler is at `address`, as `workers_on` does.

    Raises DaskError where nobody answers there, where this process has no Dask, and where
    `workers_on` does.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise DaskError(
            f"a Dask cluster needs the package {error.name}: pip install 'concurrent-exec[dask]'"
        ) from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DaskError(f"there is no scheduler of Dask at {address}: {error}") from error
    with client:
        yield workers_on(client, connect, processes)


def shards_of(collection: Any) -> Shards:
    """Return the partitions of a Dask bag or dataframe as an input, which the workers compute.

    Each is computed when its turn comes, and its records are sent where it is. Raises TypeError.
    """
    if not hasattr(collection, "to_delayed"):
        raise TypeError(f"must be a bag or dataframe of Dask, not {type(collection).__name__}")
    parts = [Partition(delayed) for delayed in collection.to_delayed()]
    names = [f"{type(collection).__name__}, partition {n}" for n in range(len(parts))]
    return Shards(parts, names)


def run(
    client: Any,
    connect: Callable[[], Any],
    statement: str,
    source: Any,
    *,
    processes: int | None = None,
    **options: Unpack[BulkOptions],
) -> Report:
    """Run `statement` once for each record of `source`, by the workers of a Dask cluster.

    client: a `distributed.Client`.
    connect: makes a session, here to prepare the statement and once in each worker.
    source: a Dask bag or dataframe, of which each worker sends the partitions that it computes; a
        list of paths, of which each worker reads files for itself; or what `bulk.run` takes, which
        is read here and sent there.
    processes: as `workers_on` says.
    options: those of `bulk.run`.

    Returns and raises what `bulk.run` does; DaskError where `workers_on` does.
    """
    if hasattr(source, "to_delayed"):
        source = shards_of(source)
    elif _is_paths(source):
        source = Shards.of_files(source)
    options["workers"] = workers_on(client, connect, processes)
    with ExitStack() as opened:
        return run_in_bulk(open_session(connect, opened), statement, source, **options)


def _is_paths(source: Any) -> bool:
    return (
        isinstance(source, Sequence)
        and not isinstance(source, str | bytes)
        and len(source) > 0
        and all(isinstance(each, str) or hasattr(each, "__fspath__") for each in source)
    )
