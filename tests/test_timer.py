"""The executors' own clock: what is to be called later is called."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace

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


def test_what_is_set_later_but_due_earlier_is_called_first() -> None:
    """And what was cancelled is not called, and holds nothing up."""
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
