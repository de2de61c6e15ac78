"""What a pool of Dask's workers decides by itself; the cluster is scripted.

tests/distributed has a real one, with processes that are killed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest

from concurrent_exec.executors import dask_pool
from concurrent_exec.executors.dask_pool import (
    Crew,
    DaskError,
    DaskPool,
    Partition,
    WorkerGoneError,
    is_of_dask,
    run_once,
)
from concurrent_exec.executors.lanes import Lanes

LACKING = ModuleNotFoundError("No module named 'concurrent_exec'")
NEEDS = "Workers need concurrent-exec and a driver, in the versions used here"


class Task:
    """One that was given to a worker: what it is to do, how, and what came of it."""

    def __init__(self, do: Any, arguments: tuple[Any, ...], how: dict[str, Any]) -> None:
        self.do, self.arguments, self.how = do, arguments, how
        self._outcome: Future[Any] = Future()
        self.result = self._outcome.result
        self._tell: list[Callable[[Any], None]] = []

    def add_done_callback(self, tell: Callable[[Any], None]) -> None:
        self._tell.append(tell)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        if error is None:
            self._outcome.set_result(result)
        else:
            self._outcome.set_exception(error)
        for tell in self._tell:
            tell(self)


class Client:
    """One of a Dask cluster whose workers do what the test says."""

    def __init__(self, *addresses: str) -> None:
        self.identities = {address: f"process of {address}" for address in addresses}
        self.errors: dict[str, Exception] = {}
        """What a worker raises when it is asked for something."""
        self.asked: list[list[str]] = []
        """Whom it was that something was asked of, each time."""
        self.looks = 0
        self.status = "running"
        self.tasks: list[Task] = []
        self.cancelled: list[Any] = []
        self.computed: list[ref[Future[Any]]] = []
        self.where: list[tuple[Any, list[str]]] = []
        """What was computed, and by whom."""

    def nthreads(self) -> dict[str, int]:
        self.looks += 1
        return dict.fromkeys(self.identities, 1)

    def run(
        self, do: Any, *arguments: Any, workers: list[str], on_error: str = "raise"
    ) -> dict[str, Any]:
        self.asked.append(workers)
        answers: dict[str, Any] = {}
        for address in workers:
            if address not in self.errors:
                worker = SimpleNamespace(id=self.identities[address])
                # Dask gives a function its worker by this name, if it has an argument of it.
                itself = {} if do is resolve_name else {"dask_worker": worker}
                answers[address] = do(*arguments, **itself)
            elif on_error == "return":
                answers[address] = self.errors[address]
            else:
                raise self.errors[address]
        return answers

    def submit(self, do: Any, *arguments: Any, **how: Any) -> Task:
        self.tasks.append(Task(do, arguments, how))
        return self.tasks[-1]

    def cancel(self, tasks: list[Task], *, force: bool) -> None:
        assert force  # whoever else may want it
        self.cancelled += tasks

    def compute(self, delayed: Any, *, workers: list[str], allow_other_workers: bool) -> Any:
        assert allow_other_workers  # or it would be lost with the one that is asked
        future: Future[Any] = Future()
        self.computed.append(ref(future))
        self.where.append((delayed, workers))
        return future


class Looker:
    """In place of the thread that looks which workers there are: looks when the test says so."""

    started: list[Looker]

    def __init__(self, target: Any, args: tuple[Any, ...], name: str, daemon: bool) -> None:
        assert (name, daemon) == ("concurrent_exec-dask", True)  # holds up no exit
        self._target, self._args = target, args

    def look(self) -> None:
        self._target(*self._args)

    def start(self) -> None:
        Looker.started.append(self)


@pytest.fixture(autouse=True)
def lookers(monkeypatch: pytest.MonkeyPatch) -> list[Looker]:
    monkeypatch.setattr(Looker, "started", [], raising=False)
    monkeypatch.setattr(dask_pool, "Thread", Looker)
    return Looker.started


def moments(monkeypatch: pytest.MonkeyPatch, *happens: Callable[[], Any]) -> list[float]:
    """Have one thing after the other happen while a looker waits, and let it end after the last.

    Returns how long it meant to wait each time.
    """
    waits: list[float] = []
    left = list(happens)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if not left:
            return True
        left.pop(0)()
        return False

    monkeypatch.setattr(dask_pool, "_tick", SimpleNamespace(wait=wait))
    return waits


# ---- which workers there are, and which may be taken ----


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (None, ["a:1", "b:2", "c:3"]),
        ("b:2", ["b:2"]),
        (["c:3", "a:1", "gone:4"], ["a:1", "c:3"]),
        ("b:2 and more", []),
    ],
)
def test_those_that_may_be_taken(only: str | Sequence[str] | None, found: list[str]) -> None:
    client = Client("c:3", "a:1", "b:2")
    crew = Crew(client, only)
    assert crew.addresses() == found
    assert crew.check() == found
    assert client.asked == ([found] if found else [])


def test_each_is_taken_once_and_is_free_again_when_nobody_uses_it() -> None:
    crew = Crew(Client("a:1", "b:2"))
    first, second = crew.take(), crew.take()
    assert (first.address, second.address) == ("a:1", "b:2")
    with pytest.raises(WorkerGoneError, match=r"^no worker of the Dask cluster is free$"):
        crew.take()
    first.shutdown()
    third = crew.take()
    assert third.address == "a:1"
    del second
    assert crew.take().address == "b:2"


def test_a_worker_without_this_package_is_named() -> None:
    client = Client("a:1", "b:2", "c:3")
    client.errors["b:2"] = LACKING
    with pytest.raises(DaskError, match=f"^the worker at b:2: {LACKING}. {NEEDS}$"):
        Crew(client).check()
    client.errors["c:3"] = ImportError("another version")
    with pytest.raises(DaskError, match=f"^2 workers, at b:2, c:3: {LACKING}. {NEEDS}$"):
        Crew(client).check()


def test_another_trouble_may_pass_and_is_left_to_whoever_takes_the_worker() -> None:
    client = Client("a:1", "b:2")
    client.errors["a:1"] = OSError("busy")
    crew = Crew(client)
    assert crew.check() == ["a:1", "b:2"]
    assert crew.take().address == "b:2"
    with pytest.raises(
        WorkerGoneError, match=r"^the worker at a:1: it does not answer: OSError\('busy'\)$"
    ):
        crew.take()


def test_one_that_lacks_it_is_passed_over() -> None:
    client = Client("a:1", "b:2")
    client.errors["a:1"] = LACKING
    crew = Crew(client)
    taken = crew.take()
    assert taken.address == "b:2"
    assert client.asked == [["a:1"], ["b:2"], ["b:2"]]
    with pytest.raises(WorkerGoneError, match=f"^the worker at a:1: {LACKING}. {NEEDS}$"):
        crew.take()


# ---- an executor of Dask's ----


def of_dask(client: Client, **options: Any) -> Any:
    """What `client.get_executor(**options)` returns, as far as it is looked at."""
    made = type("ClientExecutor", (), {"__module__": "distributed.cfexecutor"})()
    made._client, made._kwargs = client, options
    return made


def test_an_executor_of_dask_is_known_and_its_workers_are_taken() -> None:
    client = Client("a:1", "b:2", "c:3")
    given = of_dask(client, workers=["c:3", "b:2"], pure=False)
    assert is_of_dask(given)
    pool = run_once(given, 2)
    assert not is_of_dask(pool)
    assert isinstance(pool, Lanes)
    for number in range(3):
        pool.submit(print, number)
    assert [task.how["workers"] for task in client.tasks] == [["b:2"], ["c:3"], ["b:2"]]
    run_once(of_dask(client), 1).submit(print)
    assert client.tasks[-1].how["workers"] == ["a:1"]


def test_its_workers_are_looked_at_before_anything_is_sent() -> None:
    client = Client("a:1")
    client.errors["a:1"] = LACKING
    with pytest.raises(DaskError, match="a:1"):
        run_once(of_dask(client), 1)


# ---- what a worker is given ----


def test_a_task_is_bound_to_its_worker_and_never_done_again() -> None:
    client = Client("a:1")
    pool = Crew(client).take()
    given = [pool.submit(print, number, end="") for number in range(2)]
    for number, task in enumerate(client.tasks):
        assert task.do is dask_pool._do_here
        assert task.arguments == ("process of a:1", print, number)
        assert task.how.pop("key").startswith("concurrent_exec-")
        assert task.how == {
            "workers": ["a:1"],
            "allow_other_workers": False,
            "pure": False,
            "retries": 0,
            "end": "",
        }
    assert all(outer.running() for outer in given)  # it may have begun, so nobody may cancel it
    client.tasks[1].end((True, "second"))
    assert given[1].result(0) == "second"
    assert not given[0].done()


def test_each_task_has_a_name_of_its_own() -> None:
    """To Dask, what has the same name is the same task."""
    client = Client("a:1")
    pool = Crew(client).take()
    for _ in range(2):
        pool.submit(print)
    assert len({task.how["key"] for task in client.tasks}) == 2


def test_only_the_process_that_it_was_given_to_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(id="this")
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: worker))
    assert dask_pool._do_here("this", sorted, [1, 2], reverse=True) == (True, [2, 1])
    assert dask_pool._do_here("another", sorted, [1, 2], reverse=True) == (False, None)


def test_a_process_that_was_started_anew_has_lost_all_that_the_one_before_had() -> None:
    client = Client("a:1")
    pool = Crew(client).take()
    given = [pool.submit(print) for _ in range(2)]
    client.tasks[0].end((False, None))
    for outer in given:
        with pytest.raises(WorkerGoneError, match=r"^the worker at a:1 was started anew$"):
            outer.result(0)
    assert client.cancelled == client.tasks[1:]
    refused(pool)


def refused(pool: DaskPool) -> None:
    """Whoever gives it another task is told that it has ended."""
    with pytest.raises(WorkerGoneError, match=r"^the worker at a:1 is no longer used$"):
        pool.submit(print)
    assert pool.ended


def test_what_dask_says_of_a_task_that_it_gave_up_is_told() -> None:
    client = Client("a:1")
    pool = Crew(client).take()
    given = pool.submit(print)
    client.tasks[0].end(error=KeyError("killed"))
    with pytest.raises(WorkerGoneError, match=r"^the worker at a:1: KeyError\('killed'\)$"):
        given.result(0)


def test_an_answer_that_comes_after_the_end_is_let_go() -> None:
    client = Client("a:1")
    pool = Crew(client).take()
    given = pool.submit(print)
    pool.end("has gone")
    client.tasks[0].end((True, "late"))
    with pytest.raises(WorkerGoneError, match=r"^the worker at a:1 has gone$"):
        given.result(0)


@pytest.mark.parametrize("wait", [True, False])
def test_a_shutdown_takes_no_more_and_waits_for_what_there_is(wait: bool) -> None:
    client = Client("a:1")
    pool = Crew(client).take()
    awaited: list[int] = []
    for number in range(3):
        outer: Any = pool.submit(print)
        outer.exception = lambda number=number: awaited.append(number)
    client.tasks[1].end((True, None))
    pool.shutdown(*([] if wait else [False]))
    assert awaited == ([0, 2] if wait else [])
    assert not client.cancelled
    refused(pool)


# ---- workers that go ----


def test_a_worker_that_has_gone_answers_no_more(
    lookers: list[Looker], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("a:1", "b:2")
    crew = Crew(client)
    gone, there = crew.take(), crew.take()
    lost, kept = [gone.submit(print) for _ in range(2)], there.submit(print)
    waits = moments(monkeypatch, lambda: None, lambda: client.identities.pop("a:1"))
    [looker] = lookers  # one for both
    looker.look()
    assert waits == [1.0] * 3
    for outer in lost:
        with pytest.raises(WorkerGoneError, match=r"^the worker at a:1 has gone$"):
            outer.result(0)
    assert client.cancelled == client.tasks[:2]
    refused(gone)
    assert not there.ended
    assert not kept.done()


def test_nobody_asks_the_scheduler_while_no_worker_is_used() -> None:
    client = Client("a:1", "b:2")
    crew = Crew(client)
    pools = [crew.take(), crew.take()]
    before = client.looks
    crew.look()
    assert client.looks == before + 1
    for pool in pools:
        pool.shutdown()
    crew.look()
    assert client.looks == before + 1


def test_a_scheduler_that_does_not_answer_is_asked_again(
    lookers: list[Looker], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(Client("a:1"))
    pool = crew.take()
    answers: list[dict[str, int] | Exception] = [OSError("no answer"), {"a:1": 1}, {}]
    ended: list[bool] = []

    def nthreads() -> dict[str, int]:
        ended.append(pool.ended)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(crew.client, "nthreads", nthreads)
    moments(monkeypatch, *[lambda: None] * 3)
    lookers[0].look()
    assert ended == [False] * 3
    assert pool.ended


@pytest.mark.parametrize("status", ["closing", "closed"])
def test_nobody_looks_when_the_client_is_closed(
    status: str, lookers: list[Looker], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("a:1")
    crew = Crew(client)
    pool = crew.take()
    client.identities.clear()
    waits = moments(monkeypatch, lambda: setattr(client, "status", status))
    lookers[0].look()
    assert len(waits) == 1
    assert not pool.ended


def test_nobody_looks_when_the_crew_is_not_used_any_more(
    lookers: list[Looker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that looks does not keep it."""
    crews = [Crew(Client("a:1"))]
    crews[0].take()
    waits = moments(monkeypatch, lambda: None, crews.clear)
    lookers[0].look()
    assert len(waits) == 2


# ---- parts of a collection ----


def test_a_partition_is_computed_once_where_it_is_sent_and_let_go() -> None:
    client, partition = Client(), Partition("delayed")
    future = partition.computed(client, "here")
    assert partition.computed(client, "there") is future
    del future
    assert client.computed[0]() is not None
    partition.let_go()
    assert client.computed[0]() is None
    partition.computed(client, "there")
    assert client.where == [("delayed", ["here"]), ("delayed", ["there"])]


def test_a_task_is_given_what_is_computed_of_its_partition() -> None:
    client, partition = Client("a:1"), Partition("delayed")
    pool = Crew(client).take()
    pool.submit(print, "first", partition, "last")
    future = partition.computed(client, "there")
    assert client.tasks[0].arguments[1:] == (print, "first", future, "last")
    assert client.where == [("delayed", ["a:1"])]
