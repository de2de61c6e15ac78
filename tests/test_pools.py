"""Worker processes of this machine, as far as that can be seen without any."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pipe
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from concurrent_exec.executors import _exit, pools
from concurrent_exec.executors.pools import LocalPool


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[int]:
    """What a worker would have exited with."""
    exited: SimpleQueue[int] = SimpleQueue()
    monkeypatch.setattr(pools, "os", SimpleNamespace(_exit=exited.put))
    return exited


def test_a_worker_hears_of_no_ctrl_c_and_ends_with_its_parent(codes: SimpleQueue[int]) -> None:
    end, parent = Pipe(duplex=False)
    before = signal.getsignal(signal.SIGINT)
    try:
        pools._begin(end)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    [thread] = [each for each in threading.enumerate() if each.name == "end of parent"]
    assert thread.daemon
    parent.close()
    assert codes.get(timeout=20) == 1
    thread.join(20)


@pytest.mark.parametrize("error", [None, OSError("of the pipe")])
def test_a_worker_waits_for_that_end_however_long_it_takes(
    error: Exception | None, codes: SimpleQueue[int]
) -> None:
    asked: list[float | None] = []

    class End:
        def poll(self, timeout: float | None = 0.0) -> bool:
            asked.append(timeout)
            if error is not None:
                raise error
            return True

    end: Any = End()
    if error is None:
        pools._end_with(end)
    else:
        with pytest.raises(OSError, match="of the pipe"):
            pools._end_with(end)
    assert asked == [None]
    assert codes.get(timeout=0) == 1


def test_processes_are_spawned_and_begin_with_the_end_of_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: dict[str, Any] = {}

    def init(pool: LocalPool, processes: int, **named: Any) -> None:
        noted.update(named, processes=processes)

    monkeypatch.setattr(ProcessPoolExecutor, "__init__", init)
    pool = LocalPool(3)
    assert noted["processes"] == 3
    assert noted["mp_context"].get_start_method() == "spawn"
    assert noted["initializer"] is pools._begin
    [end] = noted["initargs"]
    assert (end.readable, end.writable) == (True, False)
    assert (pool._parent.readable, pool._parent.writable) == (False, True)


@pytest.mark.parametrize("options", [{}, {"wait": False, "cancel_futures": True}])
def test_a_shutdown_ends_the_processes_at_once(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[tuple[Any, Any, bool]] = []

    def shutdown(pool: LocalPool, wait: Any, *, cancel_futures: Any) -> None:
        noted.append((wait, cancel_futures, pool._parent.closed))

    pool = LocalPool(1)
    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", shutdown)
    pool.shutdown(**options)
    assert noted == [(options.get("wait", True), options.get("cancel_futures", False), True)]


def test_an_exit_ends_them_too() -> None:
    pool = LocalPool(1)
    pools._exit()
    assert pool._parent.closed
    pool.shutdown()


def test_ctrl_c_is_held_only_while_processes_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only from processes that have not begun: it is let through as it was before."""
    held: list[bool] = []

    def submit(pool: Any, *task: Any, **named: Any) -> Any:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        held.append(signal.SIGINT in blocked)
        pool._processes = dict.fromkeys(range(len(held)))
        return task, named

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    pool: Any = LocalPool(2)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert pool.submit(print, 1, end="") == ((print, 1), {"end": ""})
    pool.submit(print)
    pool.submit(print)
    assert held == [True, True, False]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    pool._processes = {}


def test_what_is_to_be_done_before_an_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    done: list[bool] = []
    monkeypatch.setattr(_exit, "_exits", threading.Event())
    monkeypatch.setattr(_exit, "_register", registered.append)
    _exit.before_exit(lambda: done.append(_exit.exiting()))
    [leave] = registered
    assert not _exit.exiting()
    leave()
    assert done == [True]
    monkeypatch.setattr(_exit, "_register", None)  # a Python that has it no more
    _exit.before_exit(leave)
