"""Every executor that there is: a suite that takes these holds for all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concurrent_exec import CallbackExecutor, DirectExecutor, Executor, ThreadExecutor

EXECUTORS: dict[str, Callable[..., Executor[Any]]] = {
    "callback": CallbackExecutor,
    "thread": ThreadExecutor,
    "direct": DirectExecutor,
}

any_executor = pytest.mark.parametrize("make_executor", EXECUTORS.values(), ids=EXECUTORS)
