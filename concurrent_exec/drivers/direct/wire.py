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
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from cassandra.cluster import EXEC_PROFILE_DEFAULT

from concurrent_exec.drivers.direct import connections
from concurrent_exec.drivers.direct.answers import OnAnswers
from concurrent_exec.drivers.direct.driver import VOID, Driver
from concurrent_exec.drivers.direct.go import Go, Planner, Target, alike
from concurrent_exec.drivers.direct.outgoing import SessionOutgoing
from concurrent_exec.drivers.direct.plan import Framed
from concurrent_exec.drivers.direct.request import Request
from concurrent_exec.drivers.direct.results import page_results, plain_result
from concurrent_exec.drivers.direct.stamps import next_timestamps
from concurrent_exec.drivers.direct.sweeper import Sweeper
from concurrent_exec.drivers.results import result_set, void_result
from concurrent_exec.drivers.writes import Writes
from concurrent_exec.model import Clock
from concurrent_exec.run import Job

T = TypeVar("T")

log = logging.getLogger(__name__)

_TIMESTAMPS = 32
"""So many are taken at a time for messages of which it is not known how many there will be."""
_TARGET: Callable[[Request], Target] = attrgetter("target")
_SWEEP_AGAIN = 0.001
"""Seconds until the next look at requests that another thread is about to time out."""


class SessionWire:
    """Sends what is plain over one session's connections, and hears the answers."""

    def __init__(self, session: Any, driver: Driver, clock: Clock) -> None:
        """Send over `session`, whose driver is `driver`, and has been found to be as we know it."""
        self._session = session
        self._clock = clock
        self._driver = driver
        self._planner = Planner(session, driver)
        connection_class = session.cluster.connection_class
        self._call_after_read: Callable[[Callable[[], object]], object] = getattr(
            connection_class, "call_after_read", partial(connection_class.create_timer, 0)
        )
        self._answers: deque[tuple[Request, Any]] = deque()
        self._done: deque[Request] = deque()
        """Those of whose answers no more is to be told."""
        self._woken = False
        self._sweeper = Sweeper(clock, self._begin_sweep)
        self._closing = False
        self._waiting: set[Request] = set()
        """The requests without an answer. Not only what the connections hold: a request of the
        driver's that was sent twice may, as it times out, take the stream of another's."""

    def close(self) -> None:
        """Let the timer go as soon as no answer is waited for, rather than at its time."""
        self._closing = True
        if not self._waiting:
            self._sweeper.cancel()

    # ---- sending ----

    def send(self, jobs: Sequence[Job], on_answers: OnAnswers) -> list[Job]:
        """Send those of `jobs` that are plain; return the others, which were not sent.

        on_answers: called with what has come to its end, without a lock, mostly on the driver's
            I/O thread; it must not raise. Only requests on their way refer to it.
        """
        if not self._driver.is_plain():
            return list(jobs)
        others: list[Job] = []
        now = self._clock.monotonic()
        go = Go(self._planner, on_answers)
        timestamps = next_timestamps(self._session.cluster.timestamp_generator, len(jobs))
        for same in alike(jobs):
            plan = go.plan_or_none(same[0])
            if plan is None:
                others += same
                continue
            stamps = _stamps(same, timestamps) if plan.timestamped else [None] * len(same)
            keeps_stamps = plan.timestamped and same[0].sending.retry is not None
            bodies, keys = go.encode(plan, same, stamps)
            targets = go.targets_of(plan, keys)
            for job, body, target, stamp in zip(same, bodies, targets, stamps, strict=True):
                if body is None or target is None:
                    others.append(job)
                    continue
                if keeps_stamps:
                    job.timestamp = stamp
                target.requests.append(Request(self, job, plan, target, body, stamp, now))
        for target in go.targets():
            others.extend(self.send_to(target))
        return others

    def begin(self, writes: Writes, on_answers: OnAnswers) -> SessionOutgoing:
        """Return what takes messages, of which some may be batches, to send them together.

        writes: looks at what is the driver's to send.
        on_answers: as for `send`.
        """
        plain = self._driver.is_plain()
        return SessionOutgoing(
            self,
            Go(self._planner, on_answers) if plain else None,
            writes,
            partial(next_timestamps, self._session.cluster.timestamp_generator, _TIMESTAMPS),
            self._clock.monotonic(),
        )

    def send_to(self, target: Target) -> Sequence[Any]:
        """Send the requests of `target`; return the messages of those that were not sent."""
        # The requests refer to the target, which does not refer to them from now on.
        requests, target.requests = target.requests, []
        connection = target.connection
        self._waiting.update(requests)
        try:
            sent = connections.send(connection, requests, self._driver.decode)
        except Exception:
            log.debug("nothing could be sent to %s", target.host, exc_info=True)
            sent = 0
        if sent:
            shortest = min(plan.timeout for plan in {request.plan for request in requests})
            self._sweeper.by(requests[0].sent_at + shortest)
            if self._closing:  # all may have been answered, and the timer let go, before it was set
                self.close()
        unsent = requests[sent:]
        self._waiting.difference_update(unsent)
        return [request.message for request in unsent]

    # ---- answers ----

    def answered(self, request: Request, response: Any) -> None:
        """Take the answer to `request`, or the exception of its connection.

        Those that come in one read are taken in together: the reactor calls its timers, or what a
        CoalescingConnection has put off, once the read is done with. What a dying connection says
        comes on any thread, perhaps on the last breath of the reactor.
        """
        if not self._claim(request):
            return
        self._answers.append((request, response))
        if response is not VOID and isinstance(response, Exception):
            self.take_in()
        else:
            self._wake()

    def paged(self, answers: Sequence[tuple[Request, bytes]]) -> None:
        """Take the answers to requests that are a page of rows each, and came in one read."""
        self._answers.extend([answer for answer in answers if self._claim(answer[0])])
        self._wake()

    def done(self, requests: Sequence[Request]) -> None:
        """Take the answers to `requests` that say no more than "done", and came in one read."""
        self._done.extend(filter(self._claim, requests))
        self._wake()

    def _wake(self) -> None:
        """Have what has come taken in when the read is done with."""
        if not self._woken:
            self._woken = True
            self._call_after_read(self.take_in)

    def take_in(self) -> None:
        """Settle what has been answered, and give the streams back. Never raises."""
        self._woken = False
        try:
            self._take_in()
        except Exception:
            log.exception("answers could not be taken in")

    def _take_in(self) -> None:
        settled: list[tuple[Any, Any]] = []
        streams: Counter[Target] = Counter()
        for request, result in self._results():
            settled.append((request.message, result))
            streams[request.target] += 1
        done = list(_drain(self._done))
        settled += [(request.message, void_result()) for request in done]
        streams.update(map(_TARGET, done))
        for target, number in streams.items():
            _give_back(target, number)
        if settled:
            target.on_answers(settled, ())
        if self._closing:
            self.close()

    def _results(self) -> Iterator[tuple[Request, Any]]:
        """Yield what has been answered with rows; the driver is given what is not plain."""
        pages: dict[tuple[Framed, Target], list[tuple[Request, bytes]]] = {}
        for request, response in _drain(self._answers):
            if response is VOID:
                self._done.append(request)
            elif type(response) is bytes:
                together = pages.setdefault((request.plan, request.target), [])
                together.append((request, response))
            else:
                yield from self._result(request, response)
        for (plan, target), answers in pages.items():
            results = page_results(self._driver, plan, target, [body for _, body in answers])
            for (request, body), result in zip(answers, results, strict=True):
                if result is not None:
                    yield request, result
                else:
                    yield from self._result_of_page(request, body)

    def _result(self, request: Request, response: Any) -> Iterator[tuple[Request, Any]]:
        result = plain_result(self._driver, request.plan, request.target.host, response)
        if result is None:
            self._hand_over(request, response)
        else:
            yield request, result

    def _result_of_page(self, request: Request, body: bytes) -> Iterator[tuple[Request, Any]]:
        connection = request.target.connection
        try:
            response = self._driver.decode_body(connection, body, request.plan.result_metadata)
        except Exception as exc:
            self._hand_over(request, exc)
            connection.defunct(exc)  # as the driver does
        else:
            yield from self._result(request, response)

    # ---- what goes on in the driver ----

    def _hand_over(self, request: Request, response: Any) -> None:
        """Let the driver do with an answer what it does with one that is not plain."""
        if self._session.is_shutdown and isinstance(response, Exception):
            self._give_up(request, response)
            return
        try:
            future = self._future_of(request)
        except Exception as exc:
            _give_back(request.target, 1)
            request.target.on_answers((), [(request.message, exc)])
            return
        target = request.target
        # The stream is free by now: if it times out later, it must not take it from another.
        future._req_id = None
        future._set_result(target.host, target.connection, target.pool, response)

    def _give_up(self, request: Request, error: Any) -> None:
        """Fail a request of a session that is shut down.

        The driver asks its retry policy, and then has a session send it again that drops what it is
        to do: it would end by its timeout, and without one never.
        """
        _give_back(request.target, 1)
        exc = error.to_exception() if hasattr(error, "to_exception") else error
        request.target.on_answers((), [(request.message, exc)])

    def _time_out(self, request: Request) -> None:
        """Let the driver give up on a request: it keeps the stream until the answer comes."""
        try:
            future = self._future_of(request, timer=False)
        except Exception as exc:
            request.target.on_answers((), [(request.message, exc)])
            return
        if request.target.connection._requests.get(request.stream, (None,))[0] is not request:
            future._req_id = None  # the stream is not its own any more
        future._on_timeout()

    def _future_of(self, request: Request, *, timer: bool = True) -> Any:
        """Return a ResponseFuture that has just sent `request`, as if the driver had done it.

        What it sends from now on has the values and the timestamp that were sent.
        """
        session, message = self._session, request.message
        timeout = None if math.isinf(request.plan.timeout) else request.plan.timeout
        elapsed = self._clock.monotonic() - request.sent_at
        future = session._create_response_future(
            request.plan.query(message, request.body),
            None,
            False,
            {},
            # What is left of it; the timer counts from now.
            max(timeout - elapsed, 0.001) if timer and timeout is not None else None,
            message.sending.options.get("execution_profile", EXEC_PROFILE_DEFAULT),
        )
        future.timeout = timeout
        future._start_time = time.time() - elapsed
        future._protocol_handler = session.client_protocol_handler
        future.message.timestamp = request.timestamp
        host = request.target.host
        future.query_plan = (other for other in future.query_plan if other is not host)
        future._current_host = host
        future._connection = request.target.connection
        future._req_id = request.stream
        future.attempted_hosts.append(host)
        future.add_callbacks(
            _succeeded,
            _failed,
            callback_args=(future, message, request.target.on_answers),
            errback_args=(future, message, request.target.on_answers),
        )
        return future

    # ---- timeouts ----

    def _begin_sweep(self) -> None:
        """Have the reactor look for what has timed out.

        The clock's timer only wakes it. A timer of the reactor's own would stand in its heap before
        those of the driver's requests, and keep each of these, though answered, for as long.
        """
        # What is left of a connection that is closed has no thread: the reactor may have ended.
        self.sweep(lambda request: _is_closed(request.target.connection))
        self._session.cluster.connection_class.create_timer(0, self.sweep)

    def sweep(self, which: Callable[[Request], bool] = lambda request: True) -> None:
        """Time out whatever has had no answer for too long. Never raises."""
        try:
            self._sweep(which)
        except Exception:
            log.exception("requests could not be timed out")

    def _sweep(self, which: Callable[[Request], bool]) -> None:
        now = self._clock.monotonic()
        earliest = math.inf
        for request in list(self._waiting):
            if request.deadline > now or not which(request):
                earliest = min(earliest, max(request.deadline, now + _SWEEP_AGAIN))
            elif self._claim(request):
                self._time_out(request)
        if earliest < math.inf:
            self._sweeper.by(earliest)

    def _claim(self, request: Request) -> bool:
        """Say, to one caller only, that it is the one to end `request`."""
        try:
            self._waiting.remove(request)
        except KeyError:
            return False
        return True


def _stamps(jobs: Iterable[Job], timestamps: Iterator[int]) -> list[int | None]:
    """Return the timestamp of each job: its own, if it has been sent before, or the next."""
    return [next(timestamps) if job.timestamp is None else job.timestamp for job in jobs]


def _drain(queue: deque[T]) -> Iterator[T]:
    """Yield what is in a queue that several threads may drain."""
    while True:
        try:
            yield queue.popleft()
        except IndexError:
            return


def _succeeded(rows: Any, future: Any, message: Any, on_answers: OnAnswers) -> None:
    future.clear_callbacks()  # which it would call again for each further page
    try:
        result = result_set(future, rows)
    except Exception as exc:
        on_answers((), [(message, exc)])
    else:
        on_answers([(message, result)], ())


def _failed(exc: BaseException, future: Any, message: Any, on_answers: OnAnswers) -> None:
    future.clear_callbacks()
    on_answers((), [(message, exc)])


def _is_closed(connection: Any) -> bool:
    return bool(connection.is_closed or connection.is_defunct)


def _give_back(target: Target, number: int) -> None:
    """Return `number` streams of a connection to its pool, as if one after another."""
    connection, pool = target.connection, target.pool
    if number > 1:
        with connection.lock:
            connection.in_flight -= number - 1
        with pool._stream_available_condition:
            pool._stream_available_condition.notify(number - 1)
    pool.return_connection(connection)
