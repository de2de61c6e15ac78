"""A model of what runs may do, played step by step against the real thing.

A `World` has one executor over a scripted session and a few runs whose every statement has a
drawn fate. `step` plays one drawn act of somebody: the input, the server, the clock, the
consumer, another caller. Between any two acts all that the executor can do has been done, and
the invariants of the design are checked.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from cassandra import OperationTimedOut
from cassandra.cqltypes import Int32Type
from cassandra.query import BatchStatement
from hypothesis import strategies as st

from concurrent_exec import (
    BatchExecutor,
    DeadlineExceededError,
    ExecutionResult,
    Executor,
    ExecutorShutdownError,
    FailedAttempt,
    MaxErrorsExceededError,
    NotSentError,
    Outcome,
    Results,
    SkippedError,
)
from concurrent_exec.pacing import Rate
from concurrent_exec.run.source import Lists
from concurrent_exec.testing import (
    Reply,
    Request,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from tests.watching import CALLER, Witness

TIMEOUT = 10.0
BACKOFF = 1.5
NODES = 2
QUIET = 30.0
"""Real seconds after which a schedule that does not come to rest has hung."""


T = TypeVar("T")


class Choose(Protocol):
    """Takes one of several as the drawn schedule says."""

    def __call__(self, among: Sequence[T]) -> T: ...


def chooser(numbers: list[int]) -> Choose:
    """Return a Choose that is driven by `numbers`.

    They are drawn before the schedule is played: where two worker threads race to send, what
    there is to choose from may differ between two plays, and hypothesis must not mind.
    """
    source = iter(numbers)

    def choose(among: Sequence[T]) -> T:
        return among[next(source, 0) % len(among)]

    return choose


class Wrong(Exception):
    """What a statement fails with that is to fail."""


class BadInput(Exception):
    """What an input raises that is to raise."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one statement."""

    succeeds: bool
    how: str  # "held", "at once", "refused", "never"

    def reply(self, index: int) -> Reply:
        error = None if self.succeeds else Wrong(index)
        return Reply(
            rows=[index],
            error=error,
            at_once=self.how == "at once",
            refuse=self.how == "refused",
        )


FATES = st.one_of(
    st.builds(Fate, st.booleans(), st.just("held")),
    st.builds(Fate, st.just(True), st.sampled_from(["held", "at once"])),
    st.sampled_from([Fate(False, "at once"), Fate(False, "refused"), Fate(False, "never")]),
)


class Again:
    """A retry policy: so many attempts, each so long after the last."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def delay(self, failed: FailedAttempt) -> float | None:
        return BACKOFF if failed.attempts < self.attempts else None


class DrawnLimits:
    """A limiter that changes its mind with every outcome, as drawn."""

    def __init__(self, limits: list[int]) -> None:
        self.max_limit = max(limits)
        self.limit = limits[0]
        self._limits = limits
        self._told = 0

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        assert 0 <= seconds < TIMEOUT + 1e-6
        assert 1 <= in_flight <= self.max_limit
        self._told += 1
        self.limit = self._limits[self._told % len(self._limits)]


@dataclass(frozen=True)
class Pace:
    """How fast the executor may go, as drawn."""

    limits: list[int]  # one is a number, more are a limiter's
    max_per_second: float | None

    @property
    def options(self) -> dict[str, Any]:
        one = len(self.limits) == 1
        return {
            "concurrency": self.limits[0] if one else DrawnLimits(self.limits),
            "max_per_second": self.max_per_second,
        }


QUICK_PACES = st.builds(
    Pace, limits=st.lists(st.integers(3, 9), min_size=1, max_size=1), max_per_second=st.none()
)
"""Those at which many are ready at once."""
PACES = st.builds(
    Pace,
    limits=st.one_of(
        st.lists(st.integers(1, 6), min_size=1, max_size=1),
        st.lists(st.integers(1, 6), min_size=1, max_size=4),
    ),
    max_per_second=st.sampled_from([None, None, None, 0.3, 2.0]),
)


@dataclass(frozen=True)
class Plan:
    """One run as drawn."""

    fates: list[list[Fate]]  # of each statement: its first attempt, its second, ...; the last stays
    source: str  # "list", "map", "stream", "lists"
    input_raises: bool
    fail_fast: bool
    window: int
    taken: str  # "ordered", "completed", "lists", "future"
    attempts: int = 1
    keys: int | None = None  # statements whose indexes leave the same remainder share a key
    skip: bool = False
    max_errors: int | None = None
    deadline: float | None = None
    prepared: bool = False
    idempotent: bool = False  # only where it is prepared

    @property
    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"buffersize": self.window}
        if self.max_errors is None:
            options["raise_on_first_error"] = self.fail_fast
        else:
            options["max_errors"] = self.max_errors
        if self.attempts > 1:
            options["retry"] = Again(self.attempts)
        if self.keys is not None:
            keys = self.keys
            options["order_by"] = lambda statement, parameters: parameters[0] % keys
            options["after_failure"] = "skip" if self.skip else "continue"
        if self.deadline is not None:
            options["deadline"] = self.deadline
        return options

    @property
    def may_leave_unsent(self) -> bool:
        """Whether a statement may fail without being sent."""
        return self.deadline is not None or (self.keys is not None and self.skip)

    def fate(self, index: int, attempt: int) -> Fate:
        fates = self.fates[index]
        return fates[min(attempt, len(fates)) - 1]

    def key(self, index: int) -> int | None:
        return None if self.keys is None else index % self.keys


def _plan(**drawn: Any) -> Plan:
    if drawn["max_errors"] is not None:  # the model counts failures by itself only if all are sent
        drawn.update(fail_fast=False, skip=False, deadline=None)
    return Plan(**drawn)


_DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "fates": st.lists(st.lists(FATES, min_size=1, max_size=3), max_size=14),
    "source": st.sampled_from(["list", "map", "stream", "stream", "lists"]),
    "input_raises": st.booleans(),
    "fail_fast": st.booleans(),
    "window": st.integers(1, 9),
    "taken": st.sampled_from(["ordered", "ordered", "completed", "lists", "future"]),
    "attempts": st.sampled_from([1, 1, 2, 3]),
    "keys": st.sampled_from([None, None, 1, 2, 3]),
    "skip": st.booleans(),
    "max_errors": st.sampled_from([None, None, None, 1, 3]),
    "deadline": st.sampled_from([None, None, None, 3.0123, 25.0123]),
    "prepared": st.booleans(),
    "idempotent": st.booleans(),
}
PLANS = st.builds(_plan, **_DRAWN)
PREPARED_PLANS = st.builds(
    _plan,
    **_DRAWN
    | {
        "fates": st.lists(st.lists(FATES, min_size=1, max_size=3), min_size=6, max_size=14),
        "window": st.integers(4, 12),
        "prepared": st.just(True),
    },
)
"""Those whose statements can go together."""
WATCHED = st.sampled_from(["nothing", "executor", "runs"])
"""What observers are given to."""


@dataclass
class Runner:
    """One run under way, and what the model knows of it."""

    name: str
    plan: Plan
    statement: Any
    input: ScriptedInput | None
    results: Results[Any] | None = None
    future: Future[list[ExecutionResult[Any]]] | None = None
    completed: Any = None
    lists: Any = None
    given: int = 0
    sent: list[int] = field(default_factory=list)  # each once, by its first attempt
    attempts: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, float] = field(default_factory=dict)  # when it failed
    batched: dict[int, int] = field(default_factory=dict)  # how many the last message had
    laid_bare: set[int] = field(default_factory=set)  # sent alone after their batch had failed
    settled: dict[int, bool] = field(default_factory=dict)
    delivered: list[int] = field(default_factory=list)
    input_closed: bool = False
    stopped: bool = False  # nothing may be sent from now on
    cut: bool = False  # by a shutdown
    deadline: float = math.inf
    expired: bool = False  # the deadline has passed
    unsent: set[int] = field(default_factory=set)  # delivered as failures that were never sent
    done: bool = False  # the consumer has seen the end, or has gone

    @property
    def first_failure(self) -> bool:
        return self.plan.fail_fast and not all(self.settled.values())

    @property
    def too_many_failed(self) -> bool:
        limit = self.plan.max_errors
        return limit is not None and sum(not each for each in self.settled.values()) > limit

    def stop(self) -> None:
        """Nothing may be sent from now on, and what waits has failed."""
        self.stopped = True
        self.give_up()

    def give_up(self) -> None:
        for index in self.waiting:
            self.settled[index] = False
        self.waiting.clear()

    def took(self, index: int, success: bool, now: float) -> None:
        """Note the answer to the latest attempt at `index`, before it is told."""
        if success or self.stopped or self.expired or self.fails_for_good(index):
            self.settled[index] = success
        elif self.is_laid_bare(index):
            self.waiting[index] = -math.inf
            self.laid_bare.add(index)
        else:
            self.waiting[index] = now

    def is_laid_bare(self, index: int) -> bool:
        """Say whether a failure of its batch would have it sent again, alone."""
        return self.batched[index] > 1 and self.plan.idempotent

    def fails_for_good(self, index: int) -> bool:
        """Say whether a failure of this attempt would be its last."""
        return self.attempts[index] >= self.plan.attempts and not self.is_laid_bare(index)

    def delivered_all(self) -> bool:
        return sorted(self.delivered) == list(range(self.given))

    def sent_all(self) -> bool:
        return len(self.sent) + len(self.unsent) == self.given and self.input_closed


def is_plain(statement: Any, parameters: tuple[int]) -> bool:
    return parameters[0] % 3 != 2


class RecordingSession(ScriptedSession):
    """Remembers every request, and tells the model of its answer before anybody else hears it."""

    def __init__(self, world: World, **options: Any) -> None:
        # Of what a DirectExecutor sends, a third goes through execute_async all the same.
        super().__init__(world.script, plain=is_plain, **options)
        self.world = world
        self.requests: dict[tuple[str, int, int], Request] = {}

    def _expect(self, request: Request) -> None:
        for runner, index in self.world.members(request):
            attempt = runner.attempts[index]
            self.requests[runner.name, index, attempt] = request
            if attempt > 1:
                first = self.requests.get((runner.name, index, 1))
                assert first is None or first.message.timestamp == request.message.timestamp
        super()._expect(request)

    def _note_answer(self, request: Request) -> None:
        for runner, index in self.world.members(request):
            runner.took(index, request._error is None, self.clock.monotonic())
        super()._note_answer(request)


class World:
    """One executor, its session and its callers."""

    def __init__(
        self,
        make_executor: Callable[..., Executor[Any]],
        pace: Pace,
        plans: list[Plan],
        watched: str = "nothing",
    ) -> None:
        self.pace = pace
        self.watched = watched
        self.witnesses = [Witness()] if watched == "executor" else []
        self.clock = VirtualClock()
        self.session = RecordingSession(
            self,
            clock=self.clock,
            timeout=TIMEOUT,
            replicas=lambda keyspace, key: [key[-1] % NODES],
            heard_twice=True,
        )
        self.executor = make_executor(
            self.session, clock=self.clock, observers=self.witnesses, **pace.options
        )
        self.regroups = isinstance(self.executor, BatchExecutor)
        """Whether what is ready at once may be sent in another order, and a stop come between."""
        self.sent_times: list[float] = []
        self.violations: list[AssertionError] = []
        """What `script` found wrong."""
        self.submitted: list[Future[Any]] = []
        self.is_shut_down = False
        self.runners: dict[str, Runner] = {}
        for number, plan in enumerate(plans):
            self.start(f"run {number}", plan)
        self.settle()

    # ---- starting ----

    def start(self, name: str, plan: Plan) -> None:
        statement: Any = name
        if plan.prepared:
            table = f"scripted.{name.replace(' ', '_')}"
            statement = self.session.as_prepared(
                f'INSERT INTO {table} (id) VALUES (?) -- "{name}"',
                {"id": Int32Type},
                partition_key=["id"],
                table=table,
            )
            statement.is_idempotent = plan.idempotent
        scripted = ScriptedInput() if plan.source in ("stream", "lists") else None
        runner = Runner(name, plan, statement, scripted)
        self.runners[name] = runner
        parameters = [(index,) for index in range(len(plan.fates))]
        options = plan.options
        if self.watched == "runs":
            self.witnesses.append(Witness())
            options["observers"] = self.witnesses[-1:]
        CALLER.set(name)
        if plan.deadline is not None:  # no two at the same moment
            runner.deadline = options["deadline"] = plan.deadline + 0.0001 * len(self.runners)
        if plan.source == "map":
            runner.results = self.executor.map(statement, parameters, **options)
        elif plan.source == "list":
            pairs = [(statement, each) for each in parameters]
            runner.results = self.executor.execute(pairs, **options)
        elif plan.source == "lists":
            assert runner.input is not None
            runner.results = self.executor.map(statement, Lists(runner.input), **options)
        else:
            assert runner.input is not None
            runner.results = self.executor.execute(runner.input, **options)
        if scripted is None:
            runner.given = len(plan.fates)
            runner.input_closed = True
        if plan.taken == "completed":
            runner.completed = runner.results.as_completed()
        elif plan.taken == "lists":
            runner.lists = runner.results.lists_as_completed()
        elif plan.taken == "future":
            runner.future = runner.results.future()
            runner.results = None

    def members(self, request: Request) -> list[tuple[Runner, int]]:
        """Which statements of which runs a request has."""
        return self._members(request.statement, request.parameters)

    def _members(self, statement: Any, parameters: Any) -> list[tuple[Runner, int]]:
        if statement == "submitted":
            return []
        pairs = [(statement, parameters)]
        if isinstance(statement, BatchStatement):
            pairs = parameters
        return [(self.runner_of(statement), parameters[0]) for statement, parameters in pairs]

    def runner_of(self, statement: Any) -> Runner:
        runners = list(self.runners.values())  # at once: another run may begin meanwhile
        return next(each for each in runners if each.statement == statement)

    def script(self, statement: Any, parameters: Any) -> Reply | None:
        try:
            return self.reply(self._members(statement, parameters))
        except AssertionError as exc:  # which the executor takes for a failure to send
            self.violations.append(exc)
            raise

    def reply(self, members: list[tuple[Runner, int]]) -> Reply | None:
        fates = [self.send(runner, index, len(members)) for runner, index in members]
        if not members:
            self.check_pace()
            return None
        failing = [place for place, fate in enumerate(fates) if not fate.succeeds]
        refused = [place for place in failing if fates[place].how == "refused"]
        if refused:
            now = self.clock.monotonic()
            for runner, index in members:
                runner.took(index, False, now)
            return Reply(error=Wrong(members[refused[0]][1]), refuse=True)
        if any(fate.how != "at once" for fate in fates):
            return None
        return Reply(
            rows=None if len(members) > 1 else [members[0][1]],
            error=Wrong(members[failing[0]][1]) if failing else None,
            at_once=True,
        )

    def send(self, runner: Runner, index: int, batched: int) -> Fate:
        """Note that a statement is sent, with others or alone; return its fate."""
        self.check_pace()
        what = f"{runner.name}: {index}"
        assert not runner.stopped, f"{what} was sent after the stop"
        assert not runner.expired, f"{what} was sent after the deadline"
        assert index not in runner.settled, f"{what} was sent after it had settled"
        if index in runner.attempts:
            assert index in runner.waiting, f"{what} was sent twice"
            assert batched == 1, f"{what} was sent again, in a batch"
            waited = self.clock.monotonic() - runner.waiting.pop(index)
            assert waited > BACKOFF - 1e-6, f"{what} was sent again too early"
        else:
            runner.sent.append(index)
        attempt = runner.attempts[index] = runner.attempts.get(index, 0) + 1
        runner.batched[index] = batched
        assert attempt <= max(runner.plan.attempts, 1 + (index in runner.laid_bare))
        self.check_order(runner, index)
        return runner.plan.fate(index, attempt)

    def check_pace(self) -> None:
        now = self.clock.monotonic()
        self.sent_times.append(now)
        most = self.pace.max_per_second
        if most is not None:
            burst = Rate(most).burst
            for number, earlier in enumerate(reversed(self.sent_times), 1):
                assert number <= burst + most * (now - earlier) + 1e-6, (
                    f"too many in a second: {self.sent_times}"
                )

    def check_order(self, runner: Runner, index: int) -> None:
        """Check that what comes before it in its key has settled, and was well where it must."""
        if runner.plan.keys is None:
            return
        for earlier in range(index % runner.plan.keys, index, runner.plan.keys):
            assert earlier in runner.settled, f"{index} was sent before {earlier} had settled"
            assert runner.settled[earlier] or not runner.plan.skip, f"{index} was not skipped"

    # ---- acts ----

    def step(self, choose: Choose) -> None:
        acts: list[Callable[[], None]] = []
        for runner in self.runners.values():
            if runner.input is not None and not runner.input_closed:
                acts += [partial(self.feed, runner)] * 2
            if self.deliverable(runner):
                acts += [partial(self.consume, runner)] * 2
        held = [request for request in self.session.pending if self.is_held(request)]
        if held:
            acts += [lambda: self.answer(choose(held))] * 4
        answered = [each for each in self.session.requests.values() if each.answered]
        if answered:
            acts.append(lambda: self.answer_again(choose(answered)))
        acts.append(lambda: self.pass_time(4.0))
        if not self.is_shut_down:
            acts.append(self.submit)
        going = [runner for runner in self.runners.values() if not runner.done]
        if going and choose(range(10)) == 9:
            acts += [
                lambda: self.close(choose(going)),
                lambda: self.drop(choose(going)),
                lambda: self.shut_down(cancel=choose([False, True])),
            ] * 3
        choose(acts)()
        self.settle()

    def feed(self, runner: Runner) -> None:
        assert runner.input is not None
        left = len(runner.plan.fates) - runner.given
        if left and runner.plan.source == "lists":
            some = range(runner.given, runner.given + min(left, 1 + left % 4))
            runner.input.give([])
            runner.input.give([(index,) for index in some])
            runner.given += len(some)
            return
        if left:
            runner.input.give((runner.statement, (runner.given,)))
            runner.given += 1
            return
        if runner.plan.input_raises:
            runner.input.fail(BadInput(runner.name))
        else:
            runner.input.end()
        runner.input_closed = True

    def fates(self, request: Request) -> list[Fate]:
        return [
            runner.plan.fate(index, runner.attempts[index])
            for runner, index in self.members(request)
        ]

    def is_held(self, request: Request) -> bool:
        return all(fate.how != "never" for fate in self.fates(request))

    def answer(self, request: Request) -> None:
        members = self.members(request)
        if not members:
            request.succeed(["submitted"])
            return
        fates = self.fates(request)
        failing = [place for place, fate in enumerate(fates) if not fate.succeeds]
        if not failing:
            request.succeed(None if len(members) > 1 else [members[0][1]])
            return
        for runner in {runner.name: runner for runner, _ in members}.values():
            lost = [i for who, i in members if who is runner and runner.fails_for_good(i)]
            failed = len(lost) + sum(not each for each in runner.settled.values())
            limit = runner.plan.max_errors
            if lost and (runner.plan.fail_fast or (limit is not None and failed > limit)):
                runner.stop()  # before it is told: whatever comes of it comes after
        request.fail(Wrong(members[failing[0]][1]))

    def answer_again(self, request: Request) -> None:
        if request._error is None:
            request.fail(Wrong("late"))
        else:
            request.succeed(["late"])

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds, settle=self.settle)

    def submit(self) -> None:
        CALLER.set("submitted")
        self.submitted.append(self.executor.submit("submitted", (len(self.submitted),)))

    def close(self, runner: Runner) -> None:
        runner.stop()
        runner.done = True
        if runner.results is not None:
            runner.results.close()
        elif runner.future is not None:
            runner.future.cancel()

    def drop(self, runner: Runner) -> None:
        if runner.future is None:  # a run whose future is dropped goes on
            runner.stop()
            runner.done = True
            runner.results = runner.completed = runner.lists = None
            gc.collect(0)

    def shut_down(self, *, cancel: bool) -> None:
        self.is_shut_down = True
        for runner in self.runners.values():
            runner.cut = True
            if cancel:
                runner.stop()
        self.executor.shutdown(wait=False, cancel_futures=cancel)

    # ---- consuming ----

    def deliverable(self, runner: Runner) -> bool:
        """Say whether asking for the next result must not block."""
        if runner.done:
            return False
        if runner.future is not None:
            return bool(runner.future.done())
        assert runner.results is not None
        if runner.plan.may_leave_unsent and self.has_something(runner.results):
            return True
        if runner.plan.taken in ("completed", "lists"):
            return len(runner.settled) > len(runner.delivered) or self.is_over(runner)
        return len(runner.delivered) in runner.settled or self.is_over(runner)

    def has_something(self, results: Results[Any]) -> bool:
        """Look inside: which statements fail unsent, and when, the model does not know."""
        run = results._run
        with run.gate.lock:
            held = getattr(run.sink, "_held", ())
            there = bool(held) if isinstance(held, deque) else run.sink.delivered in held
            return bool(results._batch) or there or run.over

    def is_over(self, runner: Runner) -> bool:
        if len(runner.settled) < len(runner.sent) or runner.waiting:
            return False
        if runner.stopped or runner.first_failure or runner.too_many_failed:
            return True
        assert runner.results is not None
        statistics = runner.results.statistics()
        if statistics.pulled > statistics.started:
            return False
        all_given = runner.input_closed and statistics.pulled == runner.given
        fed = runner.input is not None or runner.plan.keys is not None
        return all_given or runner.cut or (runner.expired and fed)

    def consume(self, runner: Runner) -> None:
        try:
            if runner.future is not None:
                for index, result in enumerate(runner.future.result(timeout=0)):
                    self.check_result(runner, index, result)
                raise StopIteration
            if runner.lists is not None:
                taken = next(runner.lists)
            elif runner.completed is not None:
                taken = [next(runner.completed)]
            else:
                assert runner.results is not None
                taken = [(len(runner.delivered), next(runner.results))]
        except StopIteration:
            assert runner.delivered_all(), f"{runner.name} ended early: {runner}"
            assert not (runner.cut and not runner.sent_all())
            assert runner.input is None or not runner.plan.input_raises
            runner.done = True
        except BadInput as exc:
            self.check_input_error(runner, exc)
            assert runner.future is not None or runner.delivered_all()
            runner.done = True
        except ExecutorShutdownError:
            assert runner.cut
            runner.done = True
        except MaxErrorsExceededError as exc:
            self.check_max_errors(runner, exc)
            runner.done = True
        except NotSentError as exc:
            if isinstance(exc, DeadlineExceededError) and exc.pulled is not None:
                assert runner.expired
                assert runner.input is not None or runner.plan.keys is not None
            else:
                self.check_raised(runner, exc)
            runner.done = True
        except (Wrong, OperationTimedOut) as exc:
            self.check_raised(runner, exc)
            runner.done = True
        else:
            assert taken
            for index, result in taken:
                self.check_result(runner, index, result)
        if runner.done:
            runner.stop()

    def check_result(self, runner: Runner, index: int, result: ExecutionResult[Any]) -> None:
        assert index not in runner.delivered
        runner.delivered.append(index)
        if isinstance(result.result_or_exc, NotSentError):
            assert (result.index, result.attempts, result.errors) == (index, 0, ())
            self.check_unsent(runner, index, result.result_or_exc)
            return
        assert result.success == runner.settled[index]
        if result.success:
            rows: Any = result.result_or_exc
            expected = [index] if runner.batched[index] == 1 else []
            assert list(getattr(rows, "current_rows", rows) or ()) == expected
            assert result.failure is None
        else:
            assert (result.index, result.statement, result.parameters, result.attempts) == (
                index,
                runner.statement,
                (index,),
                runner.attempts[index],
            )
            assert result.batch_size == runner.batched[index]
            assert result.errors is not None
            assert len(result.errors) == runner.attempts[index] - 1
            self.check_error(runner, index, result.result_or_exc)

    def check_raised(self, runner: Runner, exc: Any) -> None:
        assert runner.plan.fail_fast
        failure = exc.failure
        assert failure.statement == runner.statement
        assert failure.parameters == (failure.index,)
        if isinstance(exc, NotSentError):
            self.check_unsent(runner, failure.index, exc)
        else:
            assert runner.settled[failure.index] is False
            self.check_error(runner, failure.index, exc)
        if runner.plan.taken == "ordered" and runner.plan.keys is None and not self.regroups:
            assert failure.index == len(runner.delivered)
        (note,) = exc.__notes__
        assert runner.name in note
        assert f"statement {failure.index} " in note

    def check_max_errors(self, runner: Runner, exc: MaxErrorsExceededError) -> None:
        assert runner.too_many_failed
        assert runner.plan.max_errors is not None
        assert exc.failed == runner.plan.max_errors + 1 == sum(exc.kinds.values())

    def check_unsent(self, runner: Runner, index: int, exc: NotSentError) -> None:
        assert index not in runner.attempts
        runner.unsent.add(index)
        if isinstance(exc, SkippedError):
            assert runner.plan.skip
            assert runner.plan.key(exc.after) == runner.plan.key(index)
            assert exc.after < index
            assert exc.after in runner.unsent or runner.settled[exc.after] is False
        else:
            assert isinstance(exc, DeadlineExceededError)
            assert runner.expired

    def check_input_error(self, runner: Runner, exc: BadInput) -> None:
        assert runner.plan.input_raises
        assert exc.args == (runner.name,)

    def check_error(self, runner: Runner, index: int, exc: Any) -> None:
        if isinstance(exc, Wrong):
            assert runner.batched[index] > 1 or exc.args == (index,)
        else:
            assert isinstance(exc, OperationTimedOut)

    # ---- what holds between any two acts ----

    def settle(self) -> None:
        wait_until_quiet(self.executor, self.session, seconds=QUIET)
        for runner in self.runners.values():
            if self.clock.monotonic() >= runner.deadline:
                runner.expired = True
                runner.give_up()
            if runner.first_failure or runner.too_many_failed:
                runner.stop()
        self.check_invariants()

    def check_invariants(self) -> None:
        for violation in self.violations:
            raise violation
        for witness in self.witnesses:
            assert not witness.breaches
        whole = self.executor.statistics()
        in_flight = sum(request.size for request in self.session.pending)
        assert whole.in_flight == in_flight <= max(self.pace.limits)
        assert self.session.most_in_flight <= max(self.pace.limits)
        for runner in self.runners.values():
            if runner.plan.keys is None and not (self.regroups and runner.stopped):
                assert sorted(runner.sent) == list(range(len(runner.sent))), "sent out of order"
            if runner.results is None:
                continue
            run = runner.results.statistics()
            assert run.delivered <= run.settled <= run.started <= run.pulled
            assert run.started == run.settled + run.in_flight + run.waiting_for_retry
            assert run.pulled - run.delivered <= runner.plan.window
            assert run.pulled <= runner.given
            unsent = run.started - len(runner.sent)
            assert unsent >= 0 if runner.plan.may_leave_unsent else unsent == 0
            assert run.waiting_for_retry == len(runner.waiting)
            assert run.settled == len(runner.settled) + unsent, (unsent, run, runner)
            assert run.succeeded == sum(runner.settled.values())
            if not runner.done:
                assert run.delivered == len(runner.delivered)

    # ---- the end ----

    def all_done(self) -> bool:
        return (
            all(runner.done for runner in self.runners.values())
            and all(future.done() for future in self.submitted)
            and not self.session.pending
        )

    def finish(self) -> None:
        """Let everything come to its end, and check that nothing was lost."""
        passes = 0
        while not self.all_done():
            acted = False
            for runner in self.runners.values():
                if runner.input is not None and not runner.input_closed:
                    self.feed(runner)
                    acted = True
            self.settle()
            for request in self.session.pending:
                if self.is_held(request):
                    self.answer(request)
                    acted = True
                    self.settle()
            for runner in self.runners.values():
                while self.deliverable(runner):
                    self.consume(runner)
                    acted = True
                    self.settle()
            if not acted:
                passes += 1
                assert passes < 500, f"never ended: {self.runners}"
                self.pass_time(TIMEOUT / 4)
                self.settle()
        self.executor.shutdown()
        statistics = self.executor.statistics()
        assert (statistics.in_flight, statistics.queued, statistics.runs) == (0, 0, 0)
        for witness in self.witnesses:
            assert not witness.breaches
            assert not witness.unfinished()
        if self.watched == "executor":
            (witness,) = self.witnesses
            assert len(witness.runs) == len(self.runners)
            told = sum(run is None for run, _ in witness.settled)
            assert told == sum(not future.cancelled() for future in self.submitted)
