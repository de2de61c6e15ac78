"""Who does the work of `concurrent-exec run`: this process, others here, or those of Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from concurrent_exec.bulk import Workers
from concurrent_exec.distributed import DaskError, workers_at

from .errors import Refused
from .run_options import Given


@contextmanager
def workers_for(given: Given, connect: Callable[[], Any]) -> Iterator[Workers | None]:
    """Give the other processes that are asked for, None where this one does it all."""
    if given.processes is None and given.dask is None:
        yield None
        return
    if given.dask is None:
        yield Workers(connect, processes=given.processes)
        return
    try:
        with workers_at(given.dask, connect, processes=given.processes) as workers:
            yield workers
    except DaskError as error:
        raise Refused(str(error)) from error
