"""A session that does what a script says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Event, Lock, local
from types import SimpleNamespace
from typing import Any
from weakref import ref

from cassandra import OperationTimedOut
from cassandra.cluster import ResultSet
from cassandra.protocol import ColumnMetadata as BoundColumn
from cassandra.query import UNSET_VALUE, BatchStatement, PreparedStatement

from concurrent_exec.model import Clock
from concurrent_exec.run import Job
from concurrent_exec.testing.clock import VirtualClock
from concurrent_exec.testing.metadata import ScriptedMetadata

PROTOCOL_VERSION = 4


@dataclass(frozen=True, slots=True)
class Reply:
    """How the session answers one statement.

    rows: what a success brings, None for an answer without rows.
    error: what it fails with, instead of a success.
    refuse: let `execute_async` itself raise `error`.
    at_once: answer within `execute_async`, before it returns.
    after: answer when the session's clock has gone on by so many seconds.

    With neither `refuse`, `at_once` nor `after` the request waits in `ScriptedSession.pending`
    until the test answers it, or its timeout passes.
    """

    rows: Any = None
    error: BaseException | None = None
    refuse: bool = False
    at_once: bool = False
    after: float | None = None


OnAnswers = Callable[[list[tuple[Any, Any]], list[tuple[Any, BaseException]]], object]

Script = Callable[[Any, Any], Reply | None]
Replicas = Callable[[str, bytes], Iterable[Hashable]]


@dataclass(slots=True)
class Message:
    """What would go to the server."""

    timestamp: int | None
    """Microseconds: what a write gives to its columns. A request init listener may set it."""


class Request:
    """One statement that was sent; it also plays the driver's response future for it."""

    has_more_pages = False
    _col_names = _col_types = _paging_state = _continuous_paging_session = None

    def __init__(
        self,
        session: ScriptedSession,
        statement: Any,
        parameters: Any,
        options: Any,
        timestamp: int,
    ) -> None:
        self.statement = statement
        self.parameters = parameters
        self.options: dict[str, Any] = options
        """The keyword arguments it was sent with."""
        self.size = len(parameters) if isinstance(statement, BatchStatement) else 1
        """How many statements it has."""
        self.message = Message(timestamp)
        self.answered = False
        self.at_once = False
        """Whether it is answered before `execute_async` returns."""
        self._session = session
        self._lock = Lock()
        self._done = Event()
        self._rows: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[tuple[Callable[..., object], Callable[..., object], Any, Any]] = []

    def succeed(self, rows: Any = None) -> None:
        """Answer with `rows`; the callbacks run here and now, on this thread."""
        self._answer(rows, None)

    def fail(self, error: BaseException) -> None:
        """Answer with a failure; the callbacks run here and now, on this thread."""
        self._answer(None, error)

    def _answer(self, rows: Any, error: BaseException | None) -> None:
        with self._lock:
            self._rows, self._error = rows, error
            # With the list, as what is added later is called at once.
            first, self.answered = not self.answered, True
            callbacks = list(self._callbacks)
        if first:
            self._session._note_answer(self)
        self._done.set()
        for callback, errback, callback_args, errback_args in callbacks:
            if error is None:
                callback(rows, *callback_args)
            else:
                errback(error, *errback_args)

    def add_callbacks(
        self,
        callback: Callable[..., object],
        errback: Callable[..., object],
        callback_args: tuple[Any, ...] = (),
        callback_kwargs: Any = None,
        errback_args: tuple[Any, ...] = (),
        errback_kwargs: Any = None,
    ) -> Request:
        """Have one of them called with the answer; at once, if that is there."""
        with self._lock:
            self._callbacks.append((callback, errback, callback_args, errback_args))
            answered = self.answered
        if answered:
            if self._error is None:
                callback(self._rows, *callback_args)
            else:
                errback(self._error, *errback_args)
        return self

    def clear_callbacks(self) -> None:
        """Forget the callbacks, unless the session is one whose answers are heard twice."""
        if not self._session.heard_twice:
            with self._lock:
                self._callbacks.clear()

    def result(self) -> Any:
        """Wait for the answer; return its rows as a ResultSet or raise its error."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return ResultSet(self, self._rows)


class ScriptedSession:
    """A session for tests: `script` says what becomes of each statement.

    script: called with statement and parameters for each statement sent; returns a `Reply`, or
        None for one that waits. Without a script all wait. A batch is one such statement, and
        its parameters are those in it: pairs of a statement, which `as_prepared` has made, and its
        parameters.
    clock: where delays and timeouts pass; a `VirtualClock`, one of its own by default.
    timeout: seconds after which a statement without an answer fails with OperationTimedOut,
        unless it was sent with a timeout of its own; None for never.
    replicas: called with keyspace and routing key; returns the nodes that have the partition. By
        default one node has them all.
    heard_twice: let a request that is answered a second time call its callbacks a second time,
        though they were cleared, as a driver at fault would.
    plain: called with statement and parameters; says which ones a `DirectExecutor` may send over
        its wire. The others go through `execute_async`. By default all are plain.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        clock: VirtualClock | None = None,
        timeout: float | None = 10.0,
        replicas: Replicas = lambda keyspace, key: ["the only node"],
        heard_twice: bool = False,
        plain: Callable[[Any, Any], bool] = lambda statement, parameters: True,
    ) -> None:
        self.plain = plain
        self.heard_twice = heard_twice
        self.cluster = SimpleNamespace(metadata=ScriptedMetadata(replicas))
        """What a session's cluster is, as far as a batch must know it."""
        self.clock = clock if clock is not None else VirtualClock()
        self.sent = 0
        """How many statements were sent."""
        self.most_in_flight = 0
        """The most statements that were without an answer at once."""
        self._script = script
        self._timeout = timeout
        self._timestamps = count(1)
        self._listeners: list[tuple[Any, Any, Any]] = []
        self._prepared: dict[bytes, PreparedStatement] = {}
        self._pending: dict[int, Request] = {}
        self._lock = Lock()

    @property
    def pending(self) -> list[Request]:
        """The requests that wait for an answer, in the order they were sent."""
        with self._lock:
            return [request for request in self._pending.values() if not request.at_once]

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Request:
        """Send a statement; return its request, which is also its response future."""
        request = self.make_request(query, parameters, options)
        for listener, args, named in list(self._listeners):
            listener(request, *args, **named)
        self.send(request)
        return request

    def open_wire(self, clock: Clock) -> ScriptedWire:
        """Return what a `DirectExecutor` sends over: a wire on which this session answers."""
        return ScriptedWire(self)

    def make_request(self, query: Any, parameters: Any, options: Any) -> Request:
        """Return the request of a statement that is about to be sent."""
        if isinstance(query, BatchStatement):
            parameters = self._members(query)
        return Request(self, query, parameters, options, next(self._timestamps))

    def send(self, request: Request) -> None:
        """Do with a request what the script says."""
        query, parameters, options = request.statement, request.parameters, request.options
        with self._lock:
            self.sent += request.size
        reply = (self._script(query, parameters) if self._script else None) or Reply()
        if reply.refuse:
            raise reply.error if reply.error is not None else RuntimeError("refused")

        # The clock must not keep alive what has long been answered and let go.
        alive = ref(request)

        def answer() -> None:
            waiting = alive()
            if waiting is not None and not waiting.answered:
                waiting._answer(reply.rows, reply.error)

        def time_out() -> None:
            waiting = alive()
            if waiting is not None and not waiting.answered:
                waiting.fail(OperationTimedOut(errors={"scripted": "no answer"}))

        if reply.at_once:
            request.at_once = True
            self._expect(request)
            answer()
            return
        if reply.after is not None:
            self.clock.call_later(reply.after, answer)
        timeout = options.get("timeout", self._timeout)
        if timeout is not None:
            self.clock.call_later(timeout, time_out)
        self._expect(request)  # last: whoever sees it pending may count on all the rest

    def as_prepared(
        self,
        query: str,
        columns: Mapping[str, Any],
        *,
        partition_key: Sequence[str],
        clustering_key: Sequence[str] = (),
        table: str = "scripted.rows",
    ) -> PreparedStatement:
        """Return a prepared statement, the driver's own, as a node might have prepared it.

        columns: what the markers of `query` stand for, in their order: names, and their types
            as `cassandra.cqltypes` has them. Among them must be all of the partition key.
        partition_key, clustering_key: the names of the columns that the table's key has.
        table: keyspace and name.
        """
        keyspace, _, name = table.partition(".")
        self.cluster.metadata.add_table(keyspace, name, partition_key, clustering_key)
        names = list(columns)
        prepared = PreparedStatement(
            [BoundColumn(keyspace, name, *column) for column in columns.items()],
            b"%d" % len(self._prepared),
            [names.index(each) for each in partition_key],
            query,
            keyspace,
            PROTOCOL_VERSION,
            None,
            None,
        )
        self._prepared[prepared.query_id] = prepared
        return prepared

    def prepare(self, query: str, *, keyspace: str | None = None) -> PreparedStatement:
        """Return the statement that `as_prepared` has made of `query`, the latest if several.

        Raises KeyError where there is none.
        """
        return {each.query_string: each for each in self._prepared.values()}[query]

    def add_request_init_listener(
        self, fn: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        """Have `fn(request, *args, **kwargs)` called with each request before it is sent."""
        self._listeners.append((fn, args, kwargs))

    def remove_request_init_listener(
        self, fn: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        """Have it called no more; raises ValueError where it is not."""
        self._listeners.remove((fn, args, kwargs))

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        """Send a statement and wait for its answer: a ResultSet, or its error raised."""
        return self.execute_async(query, parameters, **options).result()

    def _members(self, batch: BatchStatement) -> list[tuple[Any, Any]]:
        """The statements of a batch, with parameters as they were before they were bound."""
        members: list[tuple[Any, Any]] = []
        for is_prepared, what, values in batch._statements_and_parameters:
            if not is_prepared:
                members.append((what, None))
                continue
            prepared = self._prepared[what]
            types = [column.type for column in prepared.column_metadata]
            parameters = tuple(map(_unbound, types, values))
            members.append((prepared, parameters))
        return members

    def _expect(self, request: Request) -> None:
        with self._lock:
            if not request.answered:
                self._pending[id(request)] = request
                in_flight = sum(each.size for each in self._pending.values())
                self.most_in_flight = max(self.most_in_flight, in_flight)

    def _note_answer(self, request: Request) -> None:
        with self._lock:
            self._pending.pop(id(request), None)


class ScriptedWire:
    """Plays what a `DirectExecutor` has of a driver's connections, for one session."""

    def __init__(self, session: ScriptedSession) -> None:
        self._session = session
        self._here = local()

    def send(self, jobs: Sequence[Job], on_answers: OnAnswers) -> list[Job]:
        """Send what is plain; return the others. What is answered at once is told in the end."""
        others = [job for job in jobs if not self.is_plain(job)]
        self.send_plain([job for job in jobs if self.is_plain(job)], on_answers)
        return others

    def send_plain(self, messages: Sequence[Any], on_answers: OnAnswers) -> None:
        """Send messages that are all plain."""
        succeeded: list[tuple[Any, Any]] = []
        failed: list[tuple[Any, BaseException]] = []
        refused = False
        self._here.answers = succeeded, failed
        try:
            for message in messages:
                try:
                    self._send(message, on_answers)
                except Exception as exc:
                    message.fail(exc, sent=False)
                    refused = True
        finally:  # an interrupt is the caller's, who knows what it had given us
            self._here.answers = None
        if succeeded or failed or refused:
            on_answers(succeeded, failed)

    def begin(self, writes: Any, on_answers: OnAnswers) -> ScriptedOutgoing:
        """Return what takes messages, of which some may be batches, to send them together."""
        return ScriptedOutgoing(self, writes, on_answers)

    def is_plain(self, job: Job) -> bool:
        """Say whether a statement may go over the wire."""
        return self._session.plain(job.statement, job.parameters)

    def close(self) -> None:
        """Nothing is kept."""

    def _send(self, message: Any, on_answers: OnAnswers) -> None:
        request = self._session.make_request(
            message.statement, message.parameters, message.sending.options
        )
        if message.timestamp is None:
            message.timestamp = request.message.timestamp
        request.message.timestamp = message.timestamp
        request.add_callbacks(
            self._succeeded,
            self._failed,
            callback_args=(request, message, on_answers),
            errback_args=(request, message, on_answers),
        )
        self._session.send(request)

    def _succeeded(self, rows: Any, request: Request, message: Any, on_answers: OnAnswers) -> None:
        request.clear_callbacks()
        self._tell([(message, ResultSet(request, rows))], [], on_answers)

    def _failed(
        self, error: BaseException, request: Request, message: Any, on_answers: OnAnswers
    ) -> None:
        request.clear_callbacks()
        self._tell([], [(message, error)], on_answers)

    def _tell(
        self,
        succeeded: list[tuple[Any, Any]],
        failed: list[tuple[Any, BaseException]],
        on_answers: OnAnswers,
    ) -> None:
        sending = getattr(self._here, "answers", None)
        if sending is None:
            on_answers(succeeded, failed)
        else:
            sending[0].extend(succeeded)
            sending[1].extend(failed)


_PLAIN = object()
"""Marks what goes over a wire, and so in no batch with what does not."""


class ScriptedOutgoing:
    """Plays what a `BatchExecutor` sends together over a driver's connections."""

    def __init__(self, wire: ScriptedWire, writes: Any, on_answers: OnAnswers) -> None:
        self._wire = wire
        self._on_answers = on_answers
        self._added: list[Any] = []
        self._writes = writes

    def look(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """Say what is known of each statement, and whether it is plain."""
        for write in self._writes.look(jobs):
            if write.company is None or not self._wire.is_plain(write.job):
                yield write
            else:
                yield write._replace(company=(_PLAIN, write.company))

    def add(self, message: Any, writes: Sequence[Any]) -> bool:
        """Take a message of these, if they are plain."""
        company = writes[0].company
        if company is None or company[0] is not _PLAIN:
            return False
        self._added.append(message)
        return True

    def send(self) -> list[Any]:
        """Send what was added since the last time; all of it is sent."""
        added, self._added = self._added, []
        self._wire.send_plain(added, self._on_answers)
        return []


def _unbound(kind: Any, value: Any) -> Any:
    return value if value is UNSET_VALUE else kind.from_binary(value, PROTOCOL_VERSION)
