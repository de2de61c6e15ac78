"""What runs in a worker process: chunks of statements over a session of its own."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import ExitStack
from threading import Event, Lock
from typing import Any

from cassandra.query import PreparedStatement

from concurrent_exec.executors._chunks import (
    Item,
    Outcome,
    arrived_statement,
    pack_outcomes,
    unpack,
)
from concurrent_exec.executors.auto import STRATEGIES, choose
from concurrent_exec.executors.base import Executor
from concurrent_exec.executors.opening import open_session
from concurrent_exec.model import Sending
from concurrent_exec.model.pickling import pack_error, why
from concurrent_exec.run import Gate, Job, Work
from concurrent_exec.run.work import Told

NO_LIMIT = 2**31
"""How much may be in flight is the parent's affair."""
MOST_STATEMENTS = 1_000
"""So many statements are kept prepared; whoever has more has them prepared again."""

ANSWERED, NO_SESSION, UNREADABLE = range(3)
"""What a reply is: the outcomes; the error why there is no session; in words why the chunk can't be
read."""

_workers: dict[str, _Worker] = {}
_lock = Lock()


def run_chunk(key: str, connect: bytes, resends: bool, chunk: bytes) -> tuple[int, bytes]:
    """Run a chunk of statements; return what the reply is, and the reply. Never raises.

    key: whose session to use; one is kept for each in each process.
    connect: makes the session, pickled.
    resends: whether a statement that fails may be sent again, by any process.
    """
    try:
        with _lock:
            worker = _workers.get(key)
            if worker is None:
                worker = _workers[key] = _Worker(pickle.loads(connect))
        worker.prepare_for(resends)
    except BaseException as exc:
        return NO_SESSION, pack_error(exc)
    try:
        items = unpack(chunk, worker.statement)
    except Exception as exc:
        return UNREADABLE, why(exc).encode()
    return ANSWERED, pack_outcomes(worker.run(items))


def forget(key: str) -> None:
    """Let a session go, where worker and parent are one process."""
    with _lock:
        worker = _workers.pop(key, None)
    if worker is not None:
        worker.close()


class _Worker:
    """The session of one process, and the executor over it."""

    def __init__(self, connect: Any) -> None:
        with ExitStack() as opened:
            self._session = session = open_session(connect, opened)
            name = choose(session).name
            limit = {} if name == "thread" else {"concurrency": NO_LIMIT}
            self._executor: Executor[Any] = STRATEGIES[name](session, **limit)
            self._cleanups = opened.pop_all()
        self._statements: dict[bytes, Any] = {}
        self._prepared: dict[tuple[str, str | None], Any] = {}
        self._lock = Lock()

    def prepare_for(self, resends: bool) -> None:
        """See to it that statements are sent with the timestamps that they come with.

        Raises TypeError where the session does not allow it and something may be sent again.
        """
        if resends or hasattr(self._session, "add_request_init_listener"):
            self._executor._listen()

    def statement(self, pickled: bytes) -> Any:
        """Return the statement that has come, prepared if it is one of those."""
        known = self._statements.get(pickled)
        if known is None:
            with self._lock:
                known = arrived_statement(pickled, self._prepare)
                if isinstance(known, PreparedStatement):
                    _bounded(self._statements)[pickled] = known
        return known

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """Send all of them, and return their outcomes when the last is answered."""
        work = _Chunk(self._executor._gate, items)
        work.send()
        self._executor._launch_safely()
        work.done.wait()
        return work.outcomes

    def close(self) -> None:
        """Let the session go."""
        self._executor.shutdown(wait=False)
        self._cleanups.close()

    def _prepare(self, text: str, keyspace: str | None) -> Any:
        known = self._prepared.get((text, keyspace))
        if known is None:
            options = {} if keyspace is None else {"keyspace": keyspace}
            known = self._session.prepare(text, **options)
            _bounded(self._prepared)[text, keyspace] = known
        return known


def _bounded(known: dict[Any, Any]) -> dict[Any, Any]:
    if len(known) >= MOST_STATEMENTS:
        known.clear()
    return known


class _Chunk(Work):
    """The statements of one chunk, all to be sent at once."""

    def __init__(self, gate: Gate, items: Sequence[Item]) -> None:
        super().__init__(gate)
        self.outcomes: list[Outcome] = [(False, None, True)] * len(items)
        self.done = Event()
        self._left = len(items)
        self._unsent: set[int] = set()
        self._sendings: dict[int, Sending] = {}
        self._jobs = [self._job(index, item) for index, item in enumerate(items)]
        self._jobs.reverse()

    def _job(self, index: int, item: Item) -> Job:
        sending = self._sendings.get(id(item.options))
        if sending is None:
            sending = self._sendings[id(item.options)] = Sending(item.options, None, False)
        job = Job(self, index, item.statement, item.parameters, sending)
        job.timestamp = item.timestamp
        return job

    def send(self) -> None:
        """Have it sent when the gate's next `take` is called."""
        with self.gate.lock:
            self.gate.enqueue(self)

    def next_job(self) -> Job | None:
        return self._jobs.pop() if self._jobs else None

    def queued(self) -> int:
        return len(self._jobs)

    @property
    def may_bring_more(self) -> bool:
        return False

    def takeable(self) -> int:
        return len(self._jobs)

    def waiting(self) -> int:
        return 0

    def refusal(self, job: Job) -> BaseException | None:
        if not isinstance(job.statement, Exception):
            return None
        self._unsent.add(job.index)
        return job.statement

    def settle(self, job: Job, success: bool, value: Any, **how: Any) -> None:
        if not how.get("sent", True):
            self._unsent.add(job.index)
        super().settle(job, success, value, **how)

    def conclude(self, job: Job, success: bool, value: Any) -> tuple[Told, object]:
        self.outcomes[job.index] = (
            (True, value) if success else (False, value, job.index not in self._unsent)
        )
        self._left -= 1
        if self._left:
            return None, None
        self.gate.telling += 1
        return self.done.set, None

    def may_wait(self, job: Job, delay: float) -> bool:
        return False

    def abort(self, error: BaseException) -> None:
        """Nothing here raises: neither a policy of the user's nor a limiter."""
