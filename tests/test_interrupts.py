"""Ctrl-C waits while a permit changes hands, in the main thread and where nobody else heeds it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from concurrent_exec.run.interrupts import Uninterrupted, interrupted


def interrupt() -> None:
    """Do what Ctrl-C does; Python's handler has been called when this returns."""
    signal.raise_signal(signal.SIGINT)


def interrupts_with(step: Callable[[], object]) -> bool:
    """Say whether `step` raises KeyboardInterrupt."""
    try:
        step()
    except KeyboardInterrupt:
        return True
    return False


def undisturbed() -> None:
    with Uninterrupted():
        assert not interrupted()


def test_an_interrupt_waits_for_the_end() -> None:
    done = []

    def send() -> None:
        with Uninterrupted():
            done.append(interrupted())
            interrupt()
            interrupt()
            done.append(interrupted())

    for _ in range(2):
        assert interrupts_with(send)
        assert not interrupted()
        assert interrupts_with(interrupt)  # from now on it strikes again
    assert done == [False, True, False, True]


def test_without_an_interrupt_nothing_is_raised() -> None:
    assert not interrupts_with(undisturbed)
    assert interrupts_with(interrupt)


def test_an_inner_one_leaves_it_to_the_outer() -> None:
    done = []

    def send() -> None:
        with Uninterrupted():
            with Uninterrupted():
                interrupt()
            done.append(interrupted())

    assert interrupts_with(send)
    assert done == [True]


@pytest.mark.parametrize("main_holds", [True, False])
def test_another_thread_is_not_concerned(main_holds: bool) -> None:
    heard = []

    def work() -> None:
        with Uninterrupted():  # signals are the main thread's: it could not set a handler
            heard.append(interrupted())

    def send() -> None:
        with Uninterrupted() if main_holds else nullcontext():
            if main_holds:
                interrupt()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    assert interrupts_with(send) == main_holds
    assert heard == [False]


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    heard: list[int] = []

    def send() -> None:
        with Uninterrupted():
            interrupt()
            assert heard == [signal.SIGINT]
        interrupt()

    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        assert not interrupts_with(send)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT] * 2


def test_a_second_one_that_strikes_at_the_end_leaves_no_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There Python's handler is back and raises before the first one's note has been read."""
    set_handler = signal.signal

    def and_interrupt(number: int, handler: object) -> None:
        set_handler(number, handler)  # type: ignore[arg-type]
        if handler is signal.default_int_handler:
            interrupt()

    def send() -> None:
        with Uninterrupted():
            interrupt()
            monkeypatch.setattr(signal, "signal", and_interrupt)

    assert interrupts_with(send)
    monkeypatch.undo()
    assert not interrupts_with(undisturbed)
