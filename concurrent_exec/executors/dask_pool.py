"""Worker processes of a Dask cluster, each of which runs a task once or not at all.

Dask runs tasks again by itself: those of a worker that dies (`distributed.scheduler
.allowed-failures` times), and those whose results are lost with it. Statements that may not be
sent twice would be. So here a task is bound to one process: to its address, which no other worker
takes over, and to the identity of the process, which one that is started anew at that address has
not. Whether a worker is still there is asked for once in a while.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pkgutil import resolve_name
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

from concurrent_exec.executors.lanes import Lanes
from concurrent_exec.model import ConcurrentExecError

WATCHED = 1.0
"""Seconds between two looks at which workers there are."""
NEEDED = "concurrent_exec:__version__"
"""What each worker must be able to import. It is asked for by a function of Python's own: why one
of ours can't be imported there, Dask does not tell."""


class DaskError(ConcurrentExecError):
    """A Dask cluster can't be used; the message says why."""


class WorkerGoneError(BrokenExecutor):
    """A worker of Dask has gone, or there is none that is free."""


def is_of_dask(pool: Executor) -> bool:
    """Say whether it is what `client.get_executor()` returns."""
    return type(pool).__module__ == "distributed.cfexecutor"


def run_once(pool: Executor, processes: int) -> Executor:
    """Return a pool over the same workers as that of `client.get_executor()`.

    Raises DaskError where one of them can't do our tasks.
    """
    given: Any = pool
    crew = Crew(given._client, given._kwargs.get("workers"))
    crew.check()
    return Lanes(processes, crew.take)


class Crew:
    """The workers of a cluster, and which of them are taken."""

    def __init__(self, client: Any, workers: str | Sequence[str] | None = None) -> None:
        """Make one of a `distributed.Client`.

        workers: addresses of those that may be taken; all by default.
        """
        self.client = client
        self._only = {workers} if isinstance(workers, str) else workers and set(workers)
        self._lock = Lock()
        self._pools: weakref.WeakSet[DaskPool] = weakref.WeakSet()
        self._watch: Thread | None = None

    def addresses(self) -> list[str]:
        """Return the addresses of the workers that there are."""
        found: list[str] = sorted(self.client.nthreads())
        return [each for each in found if self._only is None or each in self._only]

    def check(self) -> list[str]:
        """Return the addresses of all workers. Raises DaskError where one can't import this."""
        addresses = self.addresses()
        if not addresses:
            return []
        answers = self.client.run(resolve_name, NEEDED, workers=addresses, on_error="return")
        lacking = [each for each in addresses if isinstance(answers.get(each), ImportError)]
        if lacking:
            which = "the worker at" if len(lacking) == 1 else f"{len(lacking)} workers, at"
            raise DaskError(f"{which} {', '.join(lacking)}: {_why(answers[lacking[0]])}")
        return addresses

    def take(self) -> DaskPool:
        """Return a pool of one worker that nobody has taken. Raises WorkerGoneError."""
        with self._lock:
            taken = {pool.address for pool in self._pools if not pool.ended}
            free = [address for address in self.addresses() if address not in taken]
            pool = DaskPool(self.client, *self._first_fit(free))
            self._pools.add(pool)
            if self._watch is None:
                self._watch = Thread(
                    target=_watch,
                    args=(weakref.ref(self),),
                    name="concurrent_exec-dask",
                    daemon=True,
                )
                self._watch.start()
            return pool

    def _first_fit(self, addresses: Sequence[str]) -> tuple[str, str]:
        """Return the first that can do our tasks, and the identity of its process."""
        trouble = "no worker of the Dask cluster is free"
        for address in addresses:
            try:
                self.client.run(resolve_name, NEEDED, workers=[address])
                (identity,) = self.client.run(_identity, workers=[address]).values()
            except Exception as exc:  # it joined after the check, or is about to go
                trouble = f"the worker at {address}: {_why(exc)}"
            else:
                return address, identity
        raise WorkerGoneError(trouble)

    def look(self) -> None:
        """Let the pools know whose workers have gone."""
        pools = [pool for pool in self._pools if not pool.ended]
        there = set(self.client.nthreads()) if pools else set()
        for pool in pools:
            if pool.address not in there:
                pool.end("has gone")


_tick = Event()


def _watch(crew: weakref.ref[Crew]) -> None:
    while not _tick.wait(WATCHED):
        known = crew()
        if known is None or known.client.status in ("closed", "closing"):
            return
        try:
            known.look()
        except Exception:  # the scheduler does not answer: the client says so to who waits
            continue
        finally:
            del known


class DaskPool(Executor):
    """A pool of one worker process."""

    def __init__(self, client: Any, address: str, identity: str) -> None:
        """Make one of the worker at `address`, whose process has that identity."""
        self.address = address
        self.ended = False
        self._client = client
        self._identity = identity
        self._lock = Lock()
        self._tasks: dict[Future[Any], Any] = {}
        """What it has been given: of Dask, by ours."""

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`. Raises WorkerGoneError."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        given = [
            each.computed(self._client, self.address) if isinstance(each, Partition) else each
            for each in arguments
        ]
        with self._lock:
            if self.ended:
                raise WorkerGoneError(f"the worker at {self.address} is no longer used")
            task = self._client.submit(
                _do_here,
                self._identity,
                do,
                *given,
                key=f"concurrent_exec-{uuid4().hex}",
                workers=[self.address],
                allow_other_workers=False,
                pure=False,
                retries=0,
                **named,
            )
            self._tasks[outer] = task
        task.add_done_callback(partial(self._pass_on, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. The worker is the cluster's, and goes on."""
        with self._lock:
            self.ended = True
            tasks = list(self._tasks)
        for outer in tasks if wait else ():
            outer.exception()

    def end(self, why: str) -> None:
        """Fail what the worker has, as it will not answer any more."""
        with self._lock:
            self.ended = True
            lost, self._tasks = self._tasks, {}
        for outer in lost:
            outer.set_exception(WorkerGoneError(f"the worker at {self.address} {why}"))
        self._client.cancel(list(lost.values()), force=True)

    def _pass_on(self, outer: Future[Any], task: Any) -> None:
        try:
            here, result = task.result()
        except BaseException as exc:
            here, result = True, exc
        with self._lock:
            mine = self._tasks.pop(outer, None) is not None
        if not mine:
            return  # it has ended before
        if isinstance(result, BaseException):
            outer.set_exception(WorkerGoneError(f"the worker at {self.address}: {result!r}"))
        elif here:
            outer.set_result(result)
        else:
            outer.set_exception(WorkerGoneError(f"the worker at {self.address} was started anew"))
            self.end("was started anew")


class Partition:
    """A part of a collection of Dask, which is computed when it is needed."""

    def __init__(self, delayed: Any) -> None:
        """Make one of a `dask.delayed.Delayed`."""
        self._delayed = delayed
        self._future: Any = None

    def computed(self, client: Any, address: str) -> Any:
        """Return the future of it, computed by the worker at `address` unless it was before."""
        if self._future is None:
            self._future = client.compute(
                self._delayed, workers=[address], allow_other_workers=True
            )
        return self._future

    def let_go(self) -> None:
        """Need it no more, so that the cluster keeps it no longer."""
        self._future = None


def _why(error: Exception) -> str:
    """Say why a worker did not tell its identity: what it is asked by is in this package."""
    if isinstance(error, ImportError):
        return f"{error}. Workers need concurrent-exec and a driver, in the versions used here"
    return f"it does not answer: {error!r}"


def _identity(dask_worker: Any) -> str:
    return str(dask_worker.id)


def _do_here(identity: str, do: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Do it if this is the process that it was given to; say whether, and what came of it."""
    from distributed import get_worker

    if get_worker().id != identity:
        return False, None
    return True, do(*arguments, **named)
