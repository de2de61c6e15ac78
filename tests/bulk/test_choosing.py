"""Which strategy a bulk run takes, and what it asks of a session."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra.query import tuple_factory

from concurrent_exec.bulk.sending import choice_of, default_concurrency, make_executor, profile_for
from concurrent_exec.executors.auto import Choice
from concurrent_exec.pacing import AdaptiveConcurrency, QueueDelay
from concurrent_exec.testing import ScriptedSession

SESSION = ScriptedSession()


@pytest.mark.parametrize(
    ("executor", "batch_mode", "name", "reason"),
    [
        ("callback", "disabled", "callback", "it was asked for"),
        ("thread", "disabled", "thread", "it was asked for"),
        ("auto", "partition_key", "batch", "writes go in batches of one partition key"),
        ("batch", "replica_set", "batch", "writes go in batches of one replica set"),
    ],
)
def test_the_choice_says_why(executor: str, batch_mode: Any, name: str, reason: str) -> None:
    choice = choice_of(SESSION, None, executor, batch_mode)
    assert (choice.name, choice.reason) == (name, reason)


@pytest.mark.parametrize(
    ("executor", "batch_mode", "message"),
    [
        ("quick", "disabled", "executor must be one of"),
        ("auto", "all", "batch_mode must be one of"),
        ("thread", "partition_key", "batch_mode='partition_key' needs executor 'batch', not 'thr"),
    ],
)
def test_what_contradicts_is_refused(executor: str, batch_mode: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choice_of(SESSION, None, executor, batch_mode)


@pytest.mark.parametrize(("given", "limit"), [(None, 100), (7, 7), ("adaptive", 20)])
def test_the_concurrency_is_what_was_given(given: Any, limit: int) -> None:
    choice = choice_of(SESSION, None, "callback", "disabled")
    assert default_concurrency(choice, "disabled", None) == 100
    with make_executor(
        SESSION,
        choice,
        batch_mode="disabled",
        concurrency=given,
        max_per_second=None,
        retry=None,
        observers=(),
    ) as executor:
        assert executor.concurrency == limit
    assert AdaptiveConcurrency().limit == 20


@pytest.mark.parametrize(("timeout", "target"), [(None, 0.1), (10, 0.1), (0.5, 0.025)])
def test_one_by_one_as_many_as_wait_for_a_moment(timeout: float | None, target: float) -> None:
    default = default_concurrency(Choice("direct", "it is the fastest"), "disabled", timeout)
    assert isinstance(default, QueueDelay)
    assert (default.limit, default.max_limit, default.target) == (100, 4000, target)


@pytest.mark.parametrize(("batch_mode", "limit"), [("partition_key", 1000), ("replica_set", 3000)])
def test_in_batches_more_are_in_flight(batch_mode: Any, limit: int) -> None:
    choice = choice_of(SESSION, None, "auto", batch_mode)
    assert default_concurrency(choice, batch_mode, None) == limit


class Profiles:
    """A session that makes profiles of what it is given."""

    def execution_profile_clone_update(self, name: Any, **changes: Any) -> Any:
        return changes


def test_a_session_with_profiles_gives_rows_as_tuples_and_what_else_is_wanted() -> None:
    assert profile_for(Profiles(), timeout=None, consistency=None) == {
        "execution_profile": {"row_factory": tuple_factory}
    }
    assert profile_for(Profiles(), timeout=3.0, consistency=4) == {
        "execution_profile": {
            "row_factory": tuple_factory,
            "request_timeout": 3.0,
            "consistency_level": 4,
        }
    }


def test_a_session_without_profiles_can_be_asked_for_no_more() -> None:
    assert profile_for(object(), timeout=None, consistency=None) == {}
    for options in ({"timeout": 3.0, "consistency": None}, {"timeout": None, "consistency": 4}):
        with pytest.raises(ValueError, match="timeout and consistency need a driver's own session"):
            profile_for(object(), **options)
