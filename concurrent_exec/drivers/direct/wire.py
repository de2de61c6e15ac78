"""Plain prepared statements over a session's own connections, without a ResponseFuture each.

What is plain goes out in frames of our own and comes back to a small `Request`. Whatever is not
(an error, a further page, a warning, a timeout, a dead connection) is handed to a ResponseFuture
of the driver's, made for that request as if the driver had sent it: the driver's own code then
asks the retry policy, prepares anew, fetches pages, orphans the stream.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.query import FETCH_SIZE_UNSET, BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct import connections
from concurrent_exec.drivers.direct.binding import is_known
from concurrent_exec.drivers.direct.driver import VOID, Driver, Profile
from concurrent_exec.drivers.direct.plan import Plan, Terms
from concurrent_exec.drivers.results import result_set, rows_result, void_result
from concurrent_exec.run import Job

log = logging.getLogger(__name__)

Answers = Sequence[tuple[Job, bool, Any]]
"""Jobs that have come to their end, whether well, and with what."""

_MOST_PLANS = 512
_MOST_ROUTES = 64


class Request:
    """One statement in flight on a connection; the connection calls it with the answer."""

    __slots__ = (
        "body",
        "connection",
        "deadline",
        "host",
        "job",
        "plan",
        "pool",
        "sent_at",
        "stream",
        "timestamp",
        "wire",
    )

    stream: int
    connection: Any

    def __init__(
        self,
        wire: SessionWire,
        job: Job,
        plan: Plan,
        body: bytes,
        timestamp: int | None,
        sent_at: float,
    ) -> None:
        self.wire = wire
        self.job = job
        self.plan = plan
        self.body = body
        self.timestamp = timestamp
        self.sent_at = sent_at

    def __call__(self, response: Any) -> None:
        self.wire.answered(self, response)


class _Target:
    """Where requests for one host go within one go."""

    __slots__ = ("connection", "host", "pool", "requests")

    def __init__(self, host: Any, pool: Any, connection: Any) -> None:
        self.host = host
        self.pool = pool
        self.connection = connection
        self.requests: list[Request] = []


class SessionWire:
    """Sends what is plain over one session's connections, and hears the answers."""

    def __init__(self, session: Any, driver: Driver, on_answers: Callable[[Answers], None]) -> None:
        """Send over `session`, whose driver is `driver`, and has been found to be as we know it.

        on_answers: called with what has come to its end, without a lock, mostly on the driver's
            I/O thread; it must not raise.
        """
        self._session = session
        self._driver = driver
        self._on_answers = on_answers
        self._plans: dict[Terms, Plan | None] = {}
        self._routes: dict[tuple[Any, str | None], Any] = {}
        self._answers: deque[tuple[Request, Any]] = deque()
        self._woken = False
        self._sweep_lock = Lock()
        self._sweep_at = math.inf
        self._waiting: set[Request] = set()
        """The requests without an answer. Not only what the connections hold: a request of the
        driver's that was sent twice may, as it times out, take the stream of another's."""

    # ---- sending ----

    def send(self, jobs: Sequence[Job]) -> list[Job]:
        """Send those of `jobs` that are plain; return the others, which were not sent."""
        if not self._driver.is_plain():
            return list(jobs)
        others: list[Job] = []
        now = time.monotonic()
        go = _Go(self)
        session = self._session
        take_timestamp = session.cluster.timestamp_generator
        for job in jobs:
            plan = go.plan(job)
            if plan is None:
                others.append(job)
                continue
            try:
                if type(job.statement) is PreparedStatement:
                    encoded, routing_key = plan.binder.bind(job.parameters)
                else:
                    encoded, routing_key = plan.binder.bound(job.statement)
                target = go.target(plan, routing_key)
            except Exception:  # the driver raises it again, and says what is wrong
                others.append(job)
                continue
            if target is None:
                others.append(job)
                continue
            timestamp: int | None = None
            if plan.timestamped:
                timestamp = job.timestamp
                if timestamp is None:
                    timestamp = take_timestamp()
                    if job.sending.retry is not None:
                        job.timestamp = timestamp
            target.requests.append(
                Request(self, job, plan, plan.body(encoded, timestamp), timestamp, now)
            )
        for target in go.targets():
            others.extend(self._send_to(target))
        return others

    def _send_to(self, target: _Target) -> Sequence[Job]:
        requests, connection = target.requests, target.connection
        earliest = math.inf
        for request in requests:
            request.connection, request.host, request.pool = connection, target.host, target.pool
            timeout = request.plan.terms.timeout
            request.deadline = math.inf if timeout is None else request.sent_at + timeout
            earliest = min(earliest, request.deadline)
        self._waiting.update(requests)
        try:
            sent = connections.send(connection, requests, self._driver.decode)
        except Exception:
            log.debug("nothing could be sent to %s", target.host, exc_info=True)
            sent = 0
        if sent:
            self._sweep_by(earliest)
        unsent = requests[sent:]
        self._waiting.difference_update(unsent)
        return [request.job for request in unsent]

    def profile(self, name: Any) -> Profile | None:
        """Return the execution profile of that name, or None where it is the driver's to use."""
        return self._driver.profile(name)

    def routes(self, policy: Any, keyspace: str | None) -> Any:
        """Return what knows which host comes first, up to date at this moment."""
        routes = self._routes.get((policy, keyspace))
        if routes is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            routes = self._driver.routes(policy, keyspace)
            self._routes[policy, keyspace] = routes
        routes.refresh()
        return routes

    def target(self, host: Any, plan: Plan, routing_key: bytes | None) -> _Target | None:
        """Return where requests for `host` go, or None where they are the driver's to send."""
        pool = self._session._pools.get(host)
        if pool is None or pool.is_shutdown:
            return None
        connection = self._driver.connection(pool, plan.terms, routing_key)
        if connection is None or not plan.fits(connection, self._driver):
            return None
        return _Target(host, pool, connection)

    # ---- what a statement's plan is ----

    def terms(self, job: Job, profile: Profile | None) -> Terms | None:
        """Return what a statement is sent under, or None where that is the driver's to do.

        It reads what the driver's `_create_response_future` reads.
        """
        statement, options = job.statement, job.sending.options
        if type(statement) is PreparedStatement:
            prepared = statement
        elif type(statement) is BoundStatement:
            prepared = statement.prepared_statement
        else:
            return None
        if statement.custom_payload or options.get("custom_payload") or options.get("trace"):
            return None
        if profile is None or (statement.is_idempotent and not profile.never_speculates):
            return None
        session = self._session
        level, serial_level = statement.consistency_level, statement.serial_consistency_level
        fetch_size = statement.fetch_size
        columns = prepared.column_metadata
        return Terms(
            prepared=prepared,
            query_id=prepared.query_id,
            result_metadata_id=prepared.result_metadata_id,
            consistency_level=profile.consistency_level if level is None else level,
            serial_consistency_level=(
                profile.serial_consistency_level if serial_level is None else serial_level
            ),
            fetch_size=session.default_fetch_size if fetch_size is FETCH_SIZE_UNSET else fetch_size,
            timestamped=bool(session.use_client_timestamp),
            keyspace=(columns[0].keyspace_name if columns else None) or session.keyspace,
            timeout=options.get("timeout", profile.request_timeout),
            row_factory=profile.row_factory,
            policy=profile.load_balancing_policy,
            protocol_version=session._protocol_version,
            beta=bool(session.cluster.allow_beta_protocol_version),
        )

    def plan(self, terms: Terms) -> Plan | None:
        """Return how a statement is sent under `terms`, or None where that is the driver's to do."""
        try:
            return self._plans[terms]
        except KeyError:
            plan = self._plans[terms] = self._make_plan(terms)
            if len(self._plans) > _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            return plan

    def _make_plan(self, terms: Terms) -> Plan | None:
        prepared = terms.prepared
        if prepared.column_encryption_policy is not None:
            return None
        if not all(is_known(column.type) for column in prepared.column_metadata or ()):
            return None
        if not self._driver.knows_policy(terms.policy):
            return None
        return Plan(terms)

    # ---- answers ----

    def answered(self, request: Request, response: Any) -> None:
        """Take the answer to `request`, or the exception of its connection.

        Those that come in one read are taken in together: the reactor calls its timers once the
        read is done with. What a dying connection says comes on any thread, perhaps on the last
        breath of the reactor.
        """
        self._waiting.discard(request)
        self._answers.append((request, response))
        if response is not VOID and isinstance(response, Exception):
            self.take_in()
        elif not self._woken:
            self._woken = True
            self._session.cluster.connection_class.create_timer(0, self.take_in)

    def take_in(self) -> None:
        """Settle what has been answered, and give the streams back. Never raises."""
        self._woken = False
        try:
            self._take_in()
        except Exception:
            log.exception("answers could not be taken in")

    def _take_in(self) -> None:
        settled: list[tuple[Job, bool, Any]] = []
        done: dict[Any, list[Any]] = {}
        while True:
            try:
                request, response = self._answers.popleft()
            except IndexError:
                break
            if response is VOID:
                result: Any = void_result()
            else:
                result = self._result(request, response)
                if result is None:
                    self._hand_over(request, response)
                    continue
            settled.append((request.job, True, result))
            counted = done.get(request.connection)
            if counted is None:
                done[request.connection] = [request.pool, 1]
            else:
                counted[1] += 1
        for connection, (pool, number) in done.items():
            _give_back(connection, pool, number)
        if settled:
            self._on_answers(settled)

    def _result(self, request: Request, response: Any) -> Any:
        """The result of an answer with rows and nothing else, or None for any other."""
        if not self._driver.is_plain_rows(response):
            return None
        factory = request.plan.terms.row_factory
        try:
            rows = factory(response.column_names, response.parsed_rows)
        except Exception:
            return None
        return rows_result(
            response.column_names, response.column_types, rows, request.host, factory
        )

    # ---- what goes on in the driver ----

    def _hand_over(self, request: Request, response: Any) -> None:
        """Let the driver do with an answer what it does with one that is not plain."""
        try:
            future = self._future_of(request)
        except Exception as exc:
            _give_back(request.connection, request.pool, 1)
            self._on_answers([(request.job, False, exc)])
            return
        future._set_result(request.host, request.connection, request.pool, response)

    def _time_out(self, request: Request) -> None:
        """Let the driver give up on a request: it keeps the stream until the answer comes."""
        try:
            future = self._future_of(request, timer=False)
        except Exception as exc:
            self._on_answers([(request.job, False, exc)])
            return
        if request.connection._requests.get(request.stream, (None,))[0] is not request:
            future._req_id = None  # the stream is not its own any more
        future._on_timeout()

    def _future_of(self, request: Request, *, timer: bool = True) -> Any:
        """Return a ResponseFuture that has just sent `request`, as if the driver had done it.

        What it sends from now on has the values and the timestamp that were sent.
        """
        session, plan, job = self._session, request.plan, request.job
        timeout = plan.terms.timeout
        elapsed = time.monotonic() - request.sent_at
        values = plan.values(request.body)
        query = job.statement
        if type(query) is PreparedStatement:
            query = BoundStatement(query)
            query.values, query.raw_values = values, job.parameters
        future = session._create_response_future(
            query,
            None,
            False,
            {},
            # What is left of it; the timer counts from now.
            max(timeout - elapsed, 0.001) if timer and timeout is not None else None,
            job.sending.options.get("execution_profile", EXEC_PROFILE_DEFAULT),
        )
        future.timeout = timeout
        future._start_time = time.time() - elapsed
        future._protocol_handler = session.client_protocol_handler
        future.message.query_params = values
        future.message.timestamp = request.timestamp
        host = request.host
        future.query_plan = (other for other in future.query_plan if other is not host)
        future._current_host = host
        future._connection = request.connection
        future._req_id = request.stream
        future.attempted_hosts.append(host)
        future.add_callbacks(
            self._succeeded,
            self._failed,
            callback_args=(future, job),
            errback_args=(future, job),
        )
        return future

    def _succeeded(self, rows: Any, future: Any, job: Job) -> None:
        future.clear_callbacks()  # which it would call again for each further page
        try:
            result = result_set(future, rows)
        except Exception as exc:
            self._on_answers([(job, False, exc)])
        else:
            self._on_answers([(job, True, result)])

    def _failed(self, exc: BaseException, future: Any, job: Job) -> None:
        future.clear_callbacks()
        self._on_answers([(job, False, exc)])

    # ---- timeouts ----

    def _sweep_by(self, deadline: float) -> None:
        """See to it that the requests are looked through at `deadline`, on the I/O thread."""
        with self._sweep_lock:
            if deadline >= self._sweep_at:
                return
            self._sweep_at = deadline
        delay = max(deadline - time.monotonic(), 0.0)
        self._session.cluster.connection_class.create_timer(delay, self.sweep)

    def sweep(self) -> None:
        """Time out whatever has had no answer for too long. Never raises."""
        try:
            self._sweep()
        except Exception:
            log.exception("requests could not be timed out")

    def _sweep(self) -> None:
        with self._sweep_lock:
            self._sweep_at = math.inf  # whoever sends from now on looks at that
        now = time.monotonic()
        earliest = math.inf
        for request in list(self._waiting):
            if request.deadline > now:
                earliest = min(earliest, request.deadline)
            elif request in self._waiting:
                self._waiting.discard(request)
                self._time_out(request)
        if earliest < math.inf:
            self._sweep_by(earliest)


class _Go:
    """What one call of `send` looks up only once."""

    def __init__(self, wire: SessionWire) -> None:
        self._wire = wire
        self._profiles: dict[Any, Profile | None] = {}
        self._statement: Any = None
        self._sending: Any = None
        self._plan: Plan | None = None
        self._routes: dict[tuple[Any, str | None], Any] = {}
        self._targets: dict[Any, _Target | None] = {}

    def plan(self, job: Job) -> Plan | None:
        """Return how `job` is sent, or None where that is the driver's to do."""
        if job.statement is self._statement and job.sending is self._sending:
            return self._plan
        wire = self._wire
        name = job.sending.options.get("execution_profile", EXEC_PROFILE_DEFAULT)
        if name not in self._profiles:
            self._profiles[name] = wire.profile(name)
        terms = wire.terms(job, self._profiles[name])
        self._plan = None if terms is None else wire.plan(terms)
        self._statement, self._sending = job.statement, job.sending
        return self._plan

    def target(self, plan: Plan, routing_key: bytes | None) -> _Target | None:
        """Return where a request goes, or None where it is the driver's to send."""
        terms = plan.terms
        by = terms.policy, terms.keyspace
        routes = self._routes.get(by)
        if routes is None:
            routes = self._routes[by] = self._wire.routes(*by)
        host = routes.host(routing_key)
        try:
            return self._targets[host]
        except KeyError:
            target = self._targets[host] = self._wire.target(host, plan, routing_key)
            return target

    def targets(self) -> list[_Target]:
        """Return those that have something to send."""
        return [target for target in self._targets.values() if target is not None]


def _give_back(connection: Any, pool: Any, number: int) -> None:
    """Return `number` streams of a connection to its pool, as if one after another."""
    if number > 1:
        with connection.lock:
            connection.in_flight -= number - 1
        with pool._stream_available_condition:
            pool._stream_available_condition.notify(number - 1)
    pool.return_connection(connection)
