"""A model of what runs may do, played step by step against the real thing.

A `World` has one executor over a scripted session and a few runs whose every statement has a
drawn fate. `step` plays one drawn act of somebody: the input, the server, the clock, the
consumer, another caller. Between any two acts all that the executor can do has been done, and
the invariants of the design are checked.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from cassandra import OperationTimedOut
from hypothesis import strategies as st

from concurrent_exec import ExecutionResult, Executor, ExecutorShutdownError, Results
from concurrent_exec.testing import (
    Reply,
    Request,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)

TIMEOUT = 10.0
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


@dataclass(frozen=True)
class Plan:
    """One run as drawn."""

    fates: list[Fate]
    source: str  # "list", "map", "stream"
    input_raises: bool
    fail_fast: bool
    window: int
    taken: str  # "ordered", "completed", "future"


PLANS = st.builds(
    Plan,
    fates=st.lists(FATES, max_size=14),
    source=st.sampled_from(["list", "map", "stream", "stream"]),
    input_raises=st.booleans(),
    fail_fast=st.booleans(),
    window=st.integers(1, 9),
    taken=st.sampled_from(["ordered", "ordered", "completed", "future"]),
)


@dataclass
class Runner:
    """One run under way, and what the model knows of it."""

    name: str
    plan: Plan
    input: ScriptedInput | None
    results: Results[Any] | None = None
    future: Future[list[ExecutionResult[Any]]] | None = None
    completed: Any = None
    given: int = 0
    sent: list[int] = field(default_factory=list)
    settled: dict[int, bool] = field(default_factory=dict)
    delivered: list[int] = field(default_factory=list)
    input_closed: bool = False
    stopped: bool = False  # nothing may be sent from now on
    cut: bool = False  # by a shutdown
    done: bool = False  # the consumer has seen the end, or has gone

    @property
    def first_failure(self) -> bool:
        return self.plan.fail_fast and not all(self.settled.values())

    def delivered_all(self) -> bool:
        return sorted(self.delivered) == list(range(self.given))

    def sent_all(self) -> bool:
        return len(self.sent) == self.given and self.input_closed


class RecordingSession(ScriptedSession):
    """Remembers every request, also one that is answered before anybody looks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.requests: dict[tuple[str, int], Request] = {}

    def _expect(self, request: Request) -> None:
        if request.statement != "submitted":
            self.requests[request.statement, request.parameters[0]] = request
        super()._expect(request)


class World:
    """One executor, its session and its callers."""

    def __init__(
        self, make_executor: Callable[..., Executor[Any]], concurrency: int, plans: list[Plan]
    ) -> None:
        self.clock = VirtualClock()
        self.session = RecordingSession(
            self.script, clock=self.clock, timeout=TIMEOUT, heard_twice=True
        )
        self.executor = make_executor(self.session, concurrency=concurrency, clock=self.clock)
        self.submitted: list[Future[Any]] = []
        self.is_shut_down = False
        self.runners: dict[str, Runner] = {}
        for number, plan in enumerate(plans):
            self.start(f"run {number}", plan)
        self.settle()

    # ---- starting ----

    def start(self, name: str, plan: Plan) -> None:
        runner = Runner(name, plan, ScriptedInput() if plan.source == "stream" else None)
        self.runners[name] = runner
        parameters = [(index,) for index in range(len(plan.fates))]
        options: dict[str, Any] = {
            "raise_on_first_error": plan.fail_fast,
            "buffersize": plan.window,
        }
        if plan.source == "map":
            runner.results = self.executor.map(name, parameters, **options)
        elif plan.source == "list":
            pairs = [(name, each) for each in parameters]
            runner.results = self.executor.execute(pairs, **options)
        else:
            assert runner.input is not None
            runner.results = self.executor.execute(runner.input, **options)
        if plan.source != "stream":
            runner.given = len(plan.fates)
            runner.input_closed = True
        if plan.taken == "completed":
            runner.completed = runner.results.as_completed()
        elif plan.taken == "future":
            runner.future = runner.results.future()
            runner.results = None

    def script(self, statement: str, parameters: tuple[int]) -> Reply | None:
        if statement == "submitted":
            return None
        runner = self.runners[statement]
        (index,) = parameters
        assert index not in runner.sent, f"{statement}: {index} was sent twice"
        assert not runner.stopped, f"{statement}: {index} was sent after the stop"
        runner.sent.append(index)
        fate = runner.plan.fates[index]
        if fate.how in ("at once", "refused"):
            runner.settled[index] = fate.succeeds
        return fate.reply(index)

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
        if runner.given < len(runner.plan.fates):
            runner.input.give((runner.name, (runner.given,)))
            runner.given += 1
            return
        if runner.plan.input_raises:
            runner.input.fail(BadInput(runner.name))
        else:
            runner.input.end()
        runner.input_closed = True

    def is_held(self, request: Request) -> bool:
        if request.statement == "submitted":
            return True
        return self.runners[request.statement].plan.fates[int(request.parameters[0])].how == "held"

    def answer(self, request: Request) -> None:
        if request.statement == "submitted":
            request.succeed(["submitted"])
            return
        runner = self.runners[request.statement]
        (index,) = request.parameters
        fate = runner.plan.fates[index]
        runner.settled[index] = fate.succeeds
        if runner.plan.fail_fast and not fate.succeeds:
            runner.stopped = True  # before it is told: whatever comes of it comes after
        if fate.succeeds:
            request.succeed([index])
        else:
            request.fail(Wrong(index))

    def answer_again(self, request: Request) -> None:
        if request._error is None:
            request.fail(Wrong("late"))
        else:
            request.succeed(["late"])

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def submit(self) -> None:
        self.submitted.append(self.executor.submit("submitted", (len(self.submitted),)))

    def close(self, runner: Runner) -> None:
        runner.stopped = runner.done = True
        if runner.results is not None:
            runner.results.close()
        elif runner.future is not None:
            runner.future.cancel()

    def drop(self, runner: Runner) -> None:
        if runner.future is None:  # a run whose future is dropped goes on
            runner.stopped = runner.done = True
            runner.results = runner.completed = None
            gc.collect(0)

    def shut_down(self, *, cancel: bool) -> None:
        self.is_shut_down = True
        for runner in self.runners.values():
            runner.cut = True
            runner.stopped = runner.stopped or cancel
        self.executor.shutdown(wait=False, cancel_futures=cancel)

    # ---- consuming ----

    def deliverable(self, runner: Runner) -> bool:
        """Say whether asking for the next result must not block."""
        if runner.done:
            return False
        if runner.future is not None:
            return bool(runner.future.done())
        if runner.plan.taken == "completed":
            return len(runner.settled) > len(runner.delivered) or self.is_over(runner)
        return len(runner.delivered) in runner.settled or self.is_over(runner)

    def is_over(self, runner: Runner) -> bool:
        if len(runner.settled) < len(runner.sent):
            return False
        if runner.stopped or runner.first_failure:
            return True
        assert runner.results is not None
        statistics = runner.results.statistics()
        if statistics.pulled > statistics.started:
            return False
        all_given = runner.input_closed and statistics.pulled == runner.given
        return all_given or runner.cut

    def consume(self, runner: Runner) -> None:
        try:
            if runner.future is not None:
                for index, result in enumerate(runner.future.result(timeout=0)):
                    self.check_result(runner, index, result)
                raise StopIteration
            if runner.completed is not None:
                index, result = next(runner.completed)
            else:
                assert runner.results is not None
                index, result = len(runner.delivered), next(runner.results)
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
        except (Wrong, OperationTimedOut) as exc:
            self.check_raised(runner, exc)
            runner.done = True
        else:
            self.check_result(runner, index, result)
        if runner.done:
            runner.stopped = True

    def check_result(self, runner: Runner, index: int, result: ExecutionResult[Any]) -> None:
        assert index not in runner.delivered
        runner.delivered.append(index)
        assert result.success == runner.settled[index]
        if result.success:
            rows = result.result_or_exc
            assert getattr(rows, "current_rows", rows) == [index]
            assert result.failure is None
        else:
            assert (result.index, result.statement, result.parameters, result.attempts) == (
                index,
                runner.name,
                (index,),
                1,
            )
            self.check_error(runner, index, result.result_or_exc)

    def check_raised(self, runner: Runner, exc: Any) -> None:
        assert runner.plan.fail_fast
        failure = exc.failure
        assert failure.statement == runner.name
        assert failure.parameters == (failure.index,)
        assert runner.settled[failure.index] is False
        if runner.plan.taken == "ordered":
            assert failure.index == len(runner.delivered)
        self.check_error(runner, failure.index, exc)
        (note,) = exc.__notes__
        assert runner.name in note
        assert f"statement {failure.index} " in note

    def check_input_error(self, runner: Runner, exc: BadInput) -> None:
        assert runner.plan.input_raises
        assert exc.args == (runner.name,)

    def check_error(self, runner: Runner, index: int, exc: Any) -> None:
        if isinstance(exc, Wrong):
            assert exc.args == (index,)
        else:
            assert isinstance(exc, OperationTimedOut)

    # ---- what holds between any two acts ----

    def settle(self) -> None:
        wait_until_quiet(self.executor, self.session, seconds=QUIET)
        for (name, index), request in list(self.session.requests.items()):
            if request.answered and index not in self.runners[name].settled:
                self.runners[name].settled[index] = False  # it timed out
        for runner in self.runners.values():
            if runner.first_failure:
                runner.stopped = True
        self.check_invariants()

    def check_invariants(self) -> None:
        whole = self.executor.statistics()
        assert whole.in_flight == len(self.session.pending) <= whole.concurrency
        assert self.session.most_in_flight <= whole.concurrency
        for runner in self.runners.values():
            assert sorted(runner.sent) == list(range(len(runner.sent))), "sent out of order"
            if runner.results is None:
                continue
            run = runner.results.statistics()
            assert run.delivered <= run.settled <= run.started <= run.pulled
            assert run.started == run.settled + run.in_flight + run.waiting_for_retry
            assert run.pulled - run.delivered <= runner.plan.window
            assert run.pulled <= runner.given
            assert run.started == len(runner.sent)
            assert run.settled == len(runner.settled)
            assert run.succeeded == sum(runner.settled.values())
            if not runner.done:
                assert run.delivered == len(runner.delivered)

    # ---- the end ----

    def finish(self) -> None:
        """Let everything come to its end, and check that nothing was lost."""
        for _ in range(10_000):
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
            self.settle()
            for runner in self.runners.values():
                while self.deliverable(runner):
                    self.consume(runner)
                    acted = True
                    self.settle()
            if self.session.pending:
                self.pass_time(TIMEOUT)
                acted = True
            self.settle()
            if not acted:
                break
        for runner in self.runners.values():
            assert runner.done, f"{runner.name} never ended: {runner}"
        for future in self.submitted:
            assert future.done()
        self.executor.shutdown()
        statistics = self.executor.statistics()
        assert (statistics.in_flight, statistics.queued, statistics.runs) == (0, 0, 0)
