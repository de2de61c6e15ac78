"""Every executor that there is: a suite that takes these holds for all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    Executor,
    ThreadExecutor,
)

EXECUTORS: dict[str, Callable[..., Executor[Any]]] = {
    "callback": CallbackExecutor,
    "thread": ThreadExecutor,
    "batch": partial(BatchExecutor, batch_mode="replica_set", linger=0),
    "direct": DirectExecutor,
}

ONE_BY_ONE = {name: make for name, make in EXECUTORS.items() if name != "batch"}
"""Those that send each statement in a message of its own, and again only as a policy says."""

any_executor = pytest.mark.parametrize("make_executor", EXECUTORS.values(), ids=EXECUTORS)
one_by_one = pytest.mark.parametrize("make_executor", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
