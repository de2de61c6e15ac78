"""Which strategy fits: the names, and the choice of "auto"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cassandra.query import BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct import check
from concurrent_exec.executors.base import Executor
from concurrent_exec.executors.batching import BatchExecutor
from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.executors.direct import DirectExecutor
from concurrent_exec.executors.threads import ThreadExecutor
from concurrent_exec.model import UnknownDriverError

STRATEGIES: Final[dict[str, Callable[..., Executor[Any]]]] = {
    "callback": CallbackExecutor,
    "direct": DirectExecutor,
    "thread": ThreadExecutor,
    "batch": BatchExecutor,
    "batch_replica_set": partial(BatchExecutor, batch_mode="replica_set"),
}
"""The strategies by their names. Batches are for those who ask for them: they change more than
the speed."""

_PLAIN = (PreparedStatement, BoundStatement)
"""What DirectExecutor sends itself."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy, and why it was taken."""

    name: str
    """One of `STRATEGIES`."""
    reason: str


def fitting(session: Any, statement: Any = None) -> list[Choice]:
    """Return the strategies that fit, of those that change nothing but the speed; fastest first.

    statement: the one that will be sent, or None where there are several, or it is not known.

    "direct" needs a session that DirectExecutor knows, and a prepared or bound statement, or one
    that is not known: others go through the driver, and it gains nothing by them. "callback" needs
    a session with `execute_async`; "thread" serves any.

    What is sent, in which order results come and what a failure says is the same under each;
    statements are never grouped into batches.
    """
    choices = []
    if (statement is None or isinstance(statement, _PLAIN)) and _is_known(session):
        choices.append(Choice("direct", "prepared statements go straight onto the connections"))
    if hasattr(session, "execute_async"):
        choices.append(Choice("callback", "each answer sends the next statement"))
    choices.append(Choice("thread", "a thread waits for each statement: any session serves"))
    return choices


def _is_known(session: Any) -> bool:
    try:
        check(session)
    except UnknownDriverError:
        return False
    return True


def choose(session: Any, statement: Any = None) -> Choice:
    """Return the fastest of the `fitting` strategies."""
    return fitting(session, statement)[0]
