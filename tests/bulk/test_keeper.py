"""The thread that keeps the journal of a bulk run up to date."""

from __future__ import annotations

import threading

import pytest

from concurrent_exec.bulk.keeper import Keeper


def test_what_a_checkpoint_raises_stops_the_run_and_is_raised_at_its_end() -> None:
    calls: list[str] = []
    stopped = threading.Event()

    def checkpoint() -> None:
        calls.append("checkpoint")
        raise OSError("disk full")

    def stop() -> None:
        calls.append("stop")
        stopped.set()

    with pytest.raises(OSError, match="disk full"), Keeper(0.001, checkpoint, stop):
        assert stopped.wait(30)
    assert calls == ["checkpoint", "stop"]  # and is not tried again


def test_what_the_run_itself_raises_is_told_rather() -> None:
    stopped = threading.Event()

    def checkpoint() -> None:
        raise OSError("disk full")

    with pytest.raises(ValueError, match="of the run"), Keeper(0.001, checkpoint, stopped.set):
        assert stopped.wait(30)
        raise ValueError("of the run")


def test_it_stops_a_run_when_it_is_asked_to() -> None:
    stopped, written = threading.Event(), threading.Event()
    with Keeper(0.001, written.set, stopped.set) as keeper:
        assert written.wait(30)
        keeper.stop()
        assert stopped.wait(30)
