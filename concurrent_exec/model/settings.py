"""The options of a run and of a submitted statement, each said once: its meaning and its check."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypedDict, cast

from concurrent_exec.model.observer import Observer
from concurrent_exec.model.options import (
    NOT_SET,
    NotSet,
    boolean,
    one_of,
    positive_int,
    positive_seconds,
    send_options,
    whole_number,
)
from concurrent_exec.model.protocols import RetryPolicy

Feeder = Literal["thread", "caller"]
AfterFailure = Literal["continue", "skip"]
OrderBy = Callable[[Any, Any], Hashable] | Literal["partition_key"]

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


class SubmitOptions(TypedDict, total=False):
    """The keyword options of `Executor.submit`."""

    execution_profile: Any
    """Given to the session with the statement."""
    timeout: float | NotSet | None
    """Seconds, or None for none; the execution profile's own by default. A statement with no
    answer by then fails with OperationTimedOut."""
    custom_payload: Mapping[str, bytes] | None
    """Given to the session with the statement."""
    trace: bool
    """Given to the session with the statement."""
    retry: RetryPolicy | None
    """What decides whether a statement that failed is sent again; the executor's own by default.
    None for never."""
    assume_idempotent: bool
    """Whether each of these statements may be applied more than once without harm, though it is
    not marked so. False by default."""
    observers: Iterable[Observer]
    """Who is told of it, besides those of the executor."""
    weight: int
    """How many statements are sent at each of its turns, where several runs and submits of an
    executor have some to send; 1 by default. Give it to what must not wait behind a bulk load."""


class RunOptions(SubmitOptions, total=False):
    """The keyword options of `Executor.execute` and `Executor.map`, besides those of a submit."""

    raise_on_first_error: bool
    """Send nothing more after the first failure, and raise it. True by default, unless
    `max_errors` is given."""
    buffersize: int | None
    """How many statements may be pulled and not delivered; 4 times the concurrency by default, with
    a limiter the highest so far. It bounds the memory. One slow statement holds up the delivery of
    those behind it; a larger window lets more of them run meanwhile."""
    feeder: Feeder
    """Who pulls an iterable that is not a plain list, tuple or range: "thread", a thread of the
    run's own, within a copy of the caller's context, from now on; or "caller", whoever waits for
    the results, while waiting. That serves an input bound to its thread, such as a sqlite3
    cursor, but one that blocks then holds up the results, and only one thread may read them."""
    order_by: OrderBy | None
    """What gives a statement its key: statements of one key run one after another, in the order
    of the input. A function of statement and parameters, called where the input is pulled, or
    "partition_key", for prepared and bound statements whose routing key is known."""
    after_failure: AfterFailure
    """What becomes of the later statements of a key after one has failed: "continue", they are
    sent (the default); or "skip", each fails with SkippedError. Only with `order_by`."""
    max_errors: int | str | None
    """End the run with MaxErrorsExceededError when more statements than this have failed: a whole
    number, or a share of those finished, such as "5%", which is not judged before 100 have."""
    deadline: float | None
    """Seconds from the start of the run. What was not started by then fails with
    DeadlineExceededError and what waits for a retry with its last error. No more of an iterator
    is pulled: the run raises DeadlineExceededError at its end."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How a statement is handed to the session, and what is done when it fails."""

    options: dict[str, Any]
    """Keyword arguments for the session."""
    retry: RetryPolicy | None
    assume_idempotent: bool
    observers: tuple[Observer, ...] = ()
    weight: int = 1
    watch: Any = None
    """A `run.Watch`, which tells the observers, those of the executor among them; None where there
    are none."""

    @classmethod
    def checked(cls, options: SubmitOptions, retry: RetryPolicy | None) -> Sending:
        """Return what `options` say; `retry` where they say nothing of it.

        Raises TypeError or ValueError naming the option that is wrong.
        """
        return cls(
            send_options(
                options.get("execution_profile", NOT_SET),
                options.get("timeout", NOT_SET),
                options.get("custom_payload"),
                options.get("trace", False),
            ),
            retry_policy("retry", options.get("retry", retry)),
            boolean("assume_idempotent", options.get("assume_idempotent", False)),
            checked_observers("observers", options.get("observers", ())),
            positive_int("weight", options.get("weight", 1)),
        )


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options of one run, checked and with every default filled in."""

    sending: Sending
    fail_fast: bool
    window: int | None
    """None where it goes with the executor's concurrency."""
    fed_by_caller: bool
    order_by: OrderBy | None
    skip_after_failure: bool
    max_errors: int | Fraction | None
    """A Fraction is the share that may fail of those finished."""
    deadline: float | None

    @classmethod
    def checked(cls, options: RunOptions, *, retry: RetryPolicy | None) -> RunSettings:
        """Return what `options` say; `retry` where they say nothing of it.

        Raises TypeError or ValueError naming the option that is wrong, or those that contradict
        each other.
        """
        refuse_unknown(options, RunOptions)
        max_errors = max_errors_of(options.get("max_errors"))
        fail_fast = boolean(
            "raise_on_first_error", options.get("raise_on_first_error", max_errors is None)
        )
        if fail_fast and max_errors is not None:
            raise ValueError(
                "max_errors lets some statements fail, raise_on_first_error=True none: give one"
            )
        order_by = _order_by(options.get("order_by"))
        if order_by is None and "after_failure" in options:
            raise ValueError("after_failure says what becomes of a key: it needs order_by")
        after_failure = options.get("after_failure", "continue")
        buffersize = options.get("buffersize")
        deadline = options.get("deadline")
        return cls(
            sending=Sending.checked(options, retry),
            fail_fast=fail_fast,
            window=None if buffersize is None else positive_int("buffersize", buffersize),
            fed_by_caller=one_of("feeder", options.get("feeder", "thread"), ("thread", "caller"))
            == "caller",
            order_by=order_by,
            skip_after_failure=one_of("after_failure", after_failure, ("continue", "skip"))
            == "skip",
            max_errors=max_errors,
            deadline=None if deadline is None else positive_seconds("deadline", deadline),
        )


def refuse_unknown(options: Mapping[str, Any], known: Any) -> None:
    """Raise TypeError, as Python does for a keyword that a function has not, for unknown ones."""
    for name in options:
        if name not in known.__annotations__ and name not in SubmitOptions.__annotations__:
            raise TypeError(f"got an unexpected keyword argument {name!r}")


def retry_policy(name: str, value: object) -> RetryPolicy | None:
    """Return `value` if it is a retry policy or None; raises TypeError naming it otherwise."""
    if value is not None and (isinstance(value, type) or not callable(getattr(value, "delay", 0))):
        what = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(
            f"{name} must be a policy with a method delay(failed), such as Retry(), or None, "
            f"not {what}"
        )
    return cast("RetryPolicy | None", value)


def checked_observers(name: str, value: object) -> tuple[Observer, ...]:
    """Return `value` as a tuple if it has observers only; raises TypeError naming it otherwise."""
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of Observer objects, not {type(value).__name__}")
    observers = tuple(value)
    for each in observers:
        if not isinstance(each, Observer):
            what = f"the class {each.__name__}" if isinstance(each, type) else type(each).__name__
            raise TypeError(f"{name} must be a list of Observer objects, not of {what}")
    return observers


def _order_by(value: object) -> OrderBy | None:
    if value is None or value == "partition_key" or callable(value):
        return cast("OrderBy | None", value)
    kind = repr(value) if isinstance(value, str) else type(value).__name__
    raise TypeError(
        "order_by must be a function of statement and parameters, or 'partition_key', "
        f"or None, not {kind}"
    )


def max_errors_of(value: object, *, least: int = 1) -> int | Fraction | None:
    """Return how many may fail, or, as a Fraction, which share; None where `value` is None.

    least: the smallest number that is taken: a bulk run, which has no other word for that it is to
        stop at the first failure, takes 0.

    Raises TypeError or ValueError for what it can't be.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        if least and isinstance(value, int) and not isinstance(value, bool) and value == 0:
            raise ValueError(
                "max_errors must be at least 1, not 0: to stop at the first failure, "
                "give raise_on_first_error=True"
            )
        return whole_number("max_errors", value, least=least)
    match = _PERCENT.fullmatch(value.strip())
    share = Fraction(match[1]) / 100 if match else None
    if share is None or not 0 < share < 1:
        raise ValueError(
            f"max_errors must be a whole number of at least {least}, or a percentage above 0% and "
            f"below 100%, such as '5%', not {value!r}"
        )
    return share
