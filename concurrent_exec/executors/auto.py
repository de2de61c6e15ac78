"""Which strategy fits: the names, and the choice of "auto"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.executors.threads import ThreadExecutor

STRATEGIES: Final[dict[str, type[CallbackExecutor[Any]] | type[ThreadExecutor[Any]]]] = {
    "callback": CallbackExecutor,
    "thread": ThreadExecutor,
}
"""The strategies by their names, the fastest first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy, and why it was taken."""

    name: str
    """One of `STRATEGIES`."""
    reason: str


def choose(session: Any, statement: Any = None) -> Choice:
    """Return the fastest strategy that fits, of those that change nothing but the speed.

    statement: the one that will be sent, or None where there are several, or it is not known.

    The rules, of which the first that applies counts:

    1. A session without `execute_async`: "thread". It blocks until it is answered, so each
       statement in flight needs a thread.
    2. Else: "callback".

    What a strategy sends, in which order results come and what a failure says is the same under
    each; statements are never grouped into batches.
    """
    if not hasattr(session, "execute_async"):
        return Choice("thread", "the session has only a blocking execute")
    return Choice("callback", "each answer sends the next statement, without a thread for each")


def fitting(session: Any, statement: Any = None) -> tuple[str, ...]:
    """Return the names of all strategies that `choose` might take, its choice first."""
    first = choose(session, statement).name
    if first == "thread":  # and no session is too good for threads
        return (first,)
    return tuple(STRATEGIES)
