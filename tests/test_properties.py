"""The one property suite: every executor, any schedule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec import BatchExecutor, Executor
from examples.pool_executor import PoolExecutor
from tests.executors import EVERY_EXECUTOR
from tests.faults import unplaced
from tests.schedule import (
    PACES,
    PLANS,
    PREPARED_PLANS,
    QUICK_PACES,
    WATCHED,
    Pace,
    Plan,
    World,
    chooser,
)

# With the one of CONTRIBUTING.md, which shows how one is added.
EXECUTORS = EVERY_EXECUTOR | {"example": PoolExecutor}


@pytest.mark.parametrize("make_executor", EXECUTORS.values(), ids=EXECUTORS)
@given(
    pace=PACES,
    plans=st.lists(PLANS, min_size=1, max_size=3),
    steps=st.integers(0, 40),
    choices=st.lists(st.integers(0, 10_000), max_size=120),
    watched=WATCHED,
)
def test_any_schedule(
    make_executor: Callable[..., Executor[Any]],
    pace: Pace,
    plans: list[Plan],
    steps: int,
    choices: list[int],
    watched: str,
) -> None:
    play(World(make_executor, pace, plans, watched), steps, choices)


@given(
    linger=st.sampled_from([0, 0.005]),
    pace=QUICK_PACES,
    plans=st.lists(PREPARED_PLANS, min_size=1, max_size=2),
    steps=st.integers(0, 40),
    choices=st.lists(st.integers(0, 10_000), max_size=120),
    watched=WATCHED,
)
def test_any_schedule_of_batches(
    linger: float,
    pace: Pace,
    plans: list[Plan],
    steps: int,
    choices: list[int],
    watched: str,
) -> None:
    """Where most statements go with others."""
    make_executor = partial(BatchExecutor, batch_mode="replica_set", linger=linger)
    play(World(make_executor, pace, plans, watched), steps, choices)


def play(world: World, steps: int, choices: list[int]) -> None:
    choose = chooser(choices)
    for _ in range(steps):
        world.step(choose)
    world.finish()


def test_the_deliberate_faults_still_have_their_places() -> None:
    """`python -m tests.faults` puts them in; docs/faults.md says what caught each."""
    assert not unplaced()
