"""When a statement that failed is sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random as _uniform

from concurrent_exec.model.options import boolean, number, positive_int
from concurrent_exec.model.protocols import FailedAttempt
from concurrent_exec.retry.classify import may_be_resent


def _random() -> float:
    # By a name of this module: the function of `random` is a method, and pickles as a generator
    # with its whole state.
    return _uniform()


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Sends a statement again where that is safe, after waits that double and are drawn by lot.

    Whether it is safe is what `may_be_resent` says, and docs/retries.md in a table. The wait
    before attempt n + 1 is at most `initial_backoff * multiplier ** (n - 1)` seconds and at most
    `max_backoff`. Which number up to that it is, is drawn evenly: "full jitter", which spreads
    statements that failed together better than any part of it (Marc Brooker, "Exponential
    Backoff and Jitter", AWS Architecture Blog, 2015). Waiting is the executor's: no thread
    sleeps.
    """

    max_attempts: int = 5
    """How often a statement is sent at most, the first time included."""
    initial_backoff: float = 0.1
    """Seconds, above 0: the longest wait before the second attempt."""
    max_backoff: float = 10.0
    """Seconds, not below `initial_backoff`: the longest wait before any attempt."""
    multiplier: float = 2.0
    """How many times longer each wait may be than the one before: at least 1."""
    jitter: bool = True
    """Whether the wait is drawn; without it every wait is the longest."""
    random: Callable[[], float] = field(default=_random, repr=False)
    """Returns a number from 0 up to, but not including, 1; called by several threads."""

    def __post_init__(self) -> None:
        """Check the options; raises TypeError or ValueError naming the one that is wrong."""
        positive_int("max_attempts", self.max_attempts)
        # A frozen dataclass can set its fields only this way. An int or a subclass becomes a
        # plain float, so that equal policies look equal too.
        for name in ("initial_backoff", "max_backoff"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        object.__setattr__(self, "multiplier", number("multiplier", self.multiplier, at_least=1))
        if self.max_backoff < self.initial_backoff:
            raise ValueError(
                f"max_backoff must be at least initial_backoff, {self.initial_backoff}, "
                f"not {self.max_backoff}"
            )
        boolean("jitter", self.jitter)
        if not callable(self.random):
            raise TypeError(f"random must be callable, not {type(self.random).__name__}")

    def delay(self, failed: FailedAttempt) -> float | None:
        """Return after how many seconds to send it again, or None for never."""
        if failed.attempts >= self.max_attempts or not may_be_resent(
            failed.error,
            failed.statement,
            sent=failed.sent,
            assume_idempotent=failed.assume_idempotent,
            in_batch=failed.batch_size > 1,
        ):
            return None
        try:
            longest = self.initial_backoff * self.multiplier ** (failed.attempts - 1)
        except OverflowError:
            longest = self.max_backoff
        longest = min(longest, self.max_backoff)
        return longest * self.random() if self.jitter else longest
