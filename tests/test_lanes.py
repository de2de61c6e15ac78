"""Pools of one process each as one pool; the processes are scripted."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor, Future
from types import SimpleNamespace
from typing import Any

import pytest

from concurrent_exec.executors import lanes
from concurrent_exec.executors.lanes import Lanes, ProcessGoneError


class Process(Executor):
    """Does what it is given when the test says so."""

    def __init__(self) -> None:
        self.given: list[Future[Any]] = []
        self.tasks: list[tuple[Any, ...]] = []
        self.dead = False
        self.ended: list[tuple[bool, bool]] = []
        """How it was shut down: whether that waits, and whether it cancels."""

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.dead:
            raise BrokenExecutor("it has died")
        self.tasks.append((do, arguments, named))
        self.given.append(Future())
        return self.given[-1]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended.append((wait, cancel_futures))

    def die(self) -> None:
        self.dead = True
        given, self.given = self.given, []
        for future in given:
            future.set_exception(BrokenExecutor("killed"))


class Processes:
    """Makes them, as many as there are to be had."""

    def __init__(self, left: int = 100) -> None:
        self.made: list[Process] = []
        self.left = left
        self.asked = 0

    def __call__(self) -> Process:
        self.asked += 1
        if not self.left:
            raise BrokenExecutor("none is free")
        self.left -= 1
        self.made.append(Process())
        return self.made[-1]


def test_each_task_goes_to_the_process_that_has_the_fewest() -> None:
    processes = Processes()
    pool = Lanes(3, processes)
    futures = [pool.submit(print) for _ in range(6)]
    assert [len(process.given) for process in processes.made] == [2, 2, 2]
    processes.made[1].given.pop().set_result("done")
    assert [future.result() for future in futures if future.done()] == ["done"]
    pool.submit(print)
    assert [len(process.given) for process in processes.made] == [2, 2, 2]


def test_a_process_that_dies_takes_only_its_own_with_it() -> None:
    processes = Processes()
    pool = Lanes(2, processes)
    futures = [pool.submit(print) for _ in range(4)]
    processes.made[0].die()
    assert [future.done() for future in futures] == [True, False, True, False]
    for lost in (futures[0], futures[2]):
        with pytest.raises(ProcessGoneError, match="killed"):
            lost.result()
    assert processes.made[0].ended == [(False, False)]
    again = [pool.submit(print) for _ in range(2)]  # another takes its place
    assert len(processes.made) == 3
    processes.made[2].given[0].set_result(1)
    processes.made[1].given[0].set_result(2)
    assert (again[0].result(), futures[1].result()) == (1, 2)


def test_what_is_done_no_longer_counts() -> None:
    processes = Processes()
    pool = Lanes(2, processes)
    pool.submit(print)
    processes.made[0].given[0].set_result(None)
    pool.submit(print)
    assert [len(process.given) for process in processes.made] == [2]
    pool.submit(print)
    assert [len(process.given) for process in processes.made] == [2, 1]


def test_a_task_comes_as_it_was_given_and_its_error_comes_back() -> None:
    processes = Processes()
    pool = Lanes(1, processes)
    future = pool.submit(print, 1, end="")
    processes.made[0].dead = True
    pool.submit(print, 2, end="")
    first, second = processes.made
    assert first.tasks == [(print, (1,), {"end": ""})]
    assert second.tasks == [(print, (2,), {"end": ""})]
    error = ValueError("of the task")
    first.given[0].set_exception(error)
    assert future.exception(0) is error


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_says_nothing_is_named(cancelled: bool) -> None:
    processes = Processes()
    future = Lanes(1, processes).submit(print)
    if cancelled:
        processes.made[0].given[0].cancel()
    else:
        processes.made[0].given[0].set_exception(BrokenExecutor())
    with pytest.raises(ProcessGoneError, match="^CancelledError$" if cancelled else "^BrokenEx"):
        future.result(0)


def test_one_that_died_unseen_is_replaced_before_anything_is_sent() -> None:
    processes = Processes()
    pool = Lanes(1, processes)
    pool.submit(print)
    processes.made[0].dead = True
    pool.submit(print)
    assert [len(process.given) for process in processes.made] == [1, 1]
    assert processes.made[0].ended == [(False, False)]


def test_fewer_than_wanted_do_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not to be had is asked for again once in a while, not for each task."""
    now = 0.5
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: now))
    processes = Processes(left=1)
    pool = Lanes(2, processes)
    for _ in range(5):
        pool.submit(print)
    assert len(processes.made[0].given) == 5
    assert processes.asked == 2
    processes.left = 1
    now = 1.49
    pool.submit(print)
    assert len(processes.made) == 1
    now = 1.5
    pool.submit(print)
    assert len(processes.made) == 2


def test_without_any_it_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: 7.0))
    pool = Lanes(1, Processes(left=0))
    for message in ("^none is free$", "^there is no process to be had now$"):
        with pytest.raises(BrokenExecutor, match=message):
            pool.submit(print)


@pytest.mark.parametrize("options", [{}, {"wait": False, "cancel_futures": True}])
def test_all_are_told_and_shut_down(options: Any) -> None:
    processes = Processes()
    pool = Lanes(3, processes)
    for _ in range(3):
        pool.submit(id, 1)
    processes.made[0].dead = True  # unseen
    pool.tell_all(print, 2)
    assert [process.tasks[1:] for process in processes.made] == [[], *[[(print, (2,), {})]] * 2]
    for _ in range(2):  # again does no harm
        pool.shutdown(**options)
    how = options.get("wait", True), options.get("cancel_futures", False)
    assert [process.ended for process in processes.made] == [[how]] * 3
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        pool.submit(print)
