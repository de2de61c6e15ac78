"""Pools of one process each as one pool; the processes are scripted."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

import pytest

from concurrent_exec.executors import lanes
from concurrent_exec.executors.lanes import Lanes, ProcessGoneError


class Process(Executor):
    """Does what it is given when the test says so."""

    def __init__(self) -> None:
        self.given: list[Future[Any]] = []
        self.dead = self.ended = False

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.dead:
            raise BrokenExecutor("it has died")
        self.given.append(Future())
        return self.given[-1]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended = True

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
    assert processes.made[0].ended
    again = [pool.submit(print) for _ in range(2)]  # another takes its place
    assert len(processes.made) == 3
    processes.made[2].given[0].set_result(1)
    processes.made[1].given[0].set_result(2)
    assert (again[0].result(), futures[1].result()) == (1, 2)


def test_one_that_died_unseen_is_replaced_before_anything_is_sent() -> None:
    processes = Processes()
    pool = Lanes(1, processes)
    pool.submit(print)
    processes.made[0].dead = True
    pool.submit(print)
    assert [len(process.given) for process in processes.made] == [1, 1]


@pytest.mark.parametrize("absent", [3600, 0])
def test_fewer_than_wanted_do_it_all(absent: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not to be had is asked for again once in a while, not for each task."""
    monkeypatch.setattr(lanes, "ABSENT", absent)
    processes = Processes(left=1)
    pool = Lanes(2, processes)
    for _ in range(5):
        pool.submit(print)
    assert len(processes.made[0].given) == 5
    processes.left = 1
    pool.submit(print)
    assert len(processes.made) == (1 if absent else 2)


def test_without_any_it_is_broken() -> None:
    with pytest.raises(BrokenExecutor, match="none is free"):
        Lanes(1, Processes(left=0)).submit(print)


def test_all_are_told_and_shut_down() -> None:
    processes = Processes()
    pool = Lanes(2, processes)
    pool.submit(print)
    pool.submit(print)
    pool.tell_all(print)
    assert [len(process.given) for process in processes.made] == [2, 2]
    pool.shutdown(wait=False)
    assert all(process.ended for process in processes.made)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(print)
