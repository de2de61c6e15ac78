"""The executors' own clock: what is to be called later is called."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from concurrent_exec.run import timer


def test_what_falls_due_while_the_thread_goes_to_sleep_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wait that is over before it has begun must not be one for ever, as SimpleQueue's is."""
    for _ in range(1_000):
        moments = itertools.chain([0.0, 1.0 - 1e-9], itertools.repeat(2.0))
        monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=moments.__next__))
        called = threading.Event()
        timer.SystemClock().call_later(1.0, called.set)
        assert called.wait(20)


def test_what_is_set_later_but_due_earlier_is_called_first(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was cancelled is not called, and holds nothing up. The thread sleeps meanwhile."""
    looks = itertools.count()

    def monotonic() -> float:
        next(looks)
        return time.monotonic()

    monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=monotonic))
    clock = timer.SystemClock()
    called: list[str] = []
    done = threading.Event()
    clock.call_later(0.3, done.set)
    clock.call_later(0.2, lambda: called.append("later"))
    cancel = clock.call_later(0.05, lambda: called.append("cancelled"))
    clock.call_later(0.1, lambda: called.append("earlier"))
    cancel()
    cancel()
    assert done.wait(20)
    assert called == ["earlier", "later"]
    assert not caplog.records
    assert next(looks) < 50


def test_what_is_due_at_once_does_not_wait_for_what_is_far_off() -> None:
    """Given a thread that sleeps: an earlier timer wakes it, as does the end of the last one."""
    for _ in range(20):
        clock = timer.SystemClock()
        threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
        cancel = clock.call_later(1e12, threads.get)  # longer than a lock can wait
        clock.call_later(0, lambda: threads.put(threading.current_thread()))  # noqa: B023
        thread = threads.get(timeout=20)
        cancel()
        thread.join(20)
        assert not thread.is_alive()


def test_what_is_due_at_this_very_moment_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=lambda: 5.0))
    called = threading.Event()
    timer.SystemClock().call_later(0, called.set)
    assert called.wait(20)


def test_one_thread_calls_all_and_ends_with_the_last() -> None:
    clock = timer.SystemClock()
    for _ in range(2):
        threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
        go_on = threading.Event()

        def call(threads: Any = threads, go_on: threading.Event = go_on) -> None:
            threads.put(threading.current_thread())
            go_on.wait(20)

        clock.call_later(0, call)
        thread = threads.get(timeout=20)
        for _ in range(10):
            clock.call_later(0, call)  # while it is busy
        go_on.set()
        assert {threads.get(timeout=20) for _ in range(10)} == {thread}
        assert (thread.name, thread.daemon) == ("concurrent_exec-timer", True)
        thread.join(20)
        assert not thread.is_alive()


def test_a_thread_that_can_not_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = timer.SystemClock()
    called = threading.Semaphore(0)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no more threads"):
        patched.setattr(timer, "Thread", no_thread)
        clock.call_later(0, called.release)
    clock.call_later(0, called.release)
    for _ in range(2):
        assert called.acquire(timeout=20)


def no_thread(**options: object) -> None:
    raise RuntimeError("no more threads")


def test_what_raises_is_logged_and_keeps_no_other_from_being_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = timer.SystemClock()
    called = threading.Event()
    clock.call_later(0, lambda: 1 / 0)
    clock.call_later(0, called.set)
    assert called.wait(20)
    (record,) = caplog.records
    assert record.name == "concurrent_exec.run.timer"
    assert record.getMessage() == "what was called at its time raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
