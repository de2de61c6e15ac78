"""What goes to a worker process and comes back: many statements at a time, pickled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from concurrent_exec.drivers.travelling import (
    arrived,
    dumps,
    dumps_noting,
    loads,
    parts_of,
    result_of,
)
from concurrent_exec.model import NotTransferableError
from concurrent_exec.model.pickling import pack_error, unpack_error, why
from concurrent_exec.run import Job

Outcome = tuple[bool, Any] | tuple[bool, Any, bool]
"""Whether it was a success, and its result; or its error, and whether the session took it."""

_NOT_TOLD = "an object in it refuses"


class Item(NamedTuple):
    """A statement that has arrived."""

    statement: Any
    """As the session takes it; or the exception that says why it can't be had."""
    parameters: Any
    options: dict[str, Any]
    """Keyword arguments for the session."""
    timestamp: int
    """Microseconds: what a write gives to its columns."""


def pack(jobs: Sequence[Job]) -> bytes:
    """Return the statements of `jobs`, which have timestamps; each distinct one travels once.

    Raises whatever pickling does.
    """
    numbers: dict[int, int] = {}
    statements: list[Any] = []
    profiles: list[Any] = []
    items = []
    for job in jobs:
        statement, sending = job.statement, job.sending
        number = numbers.get(id(statement))
        if number is None:
            number = numbers[id(statement)] = len(statements)
            statements.append(statement if type(statement) is str else dumps(statement))
        profile = numbers.get(id(sending))
        if profile is None:
            profile = numbers[id(sending)] = len(profiles)
            profiles.append(sending.options)
        items.append((number, profile, job.parameters, job.timestamp))
    return dumps((statements, profiles, items))


def unpack(chunk: bytes, arrive: Callable[[bytes], Any]) -> list[Item]:
    """Return what `pack` has packed; raises whatever unpickling does.

    arrive: returns a statement that was pickled, as the session takes it.
    """
    statements, profiles, items = loads(chunk)
    there = [each if type(each) is str else _arrived(each, arrive) for each in statements]
    return [
        Item(there[number], parameters, profiles[profile], timestamp)
        for number, profile, parameters, timestamp in items
    ]


def _arrived(pickled: bytes, arrive: Callable[[bytes], Any]) -> Any:
    try:
        return arrive(pickled)
    except Exception as exc:  # it is prepared there, which may fail
        return exc


def arrived_statement(pickled: bytes, prepare: Callable[..., Any]) -> Any:
    """Return a statement that `pack` has pickled, as the session of `prepare` takes it."""
    return arrived(loads(pickled), prepare)


def why_not(job: Job) -> NotTransferableError:
    """Return what is wrong with a job that `pack` refuses alone."""
    parts = {
        "statement": job.statement,
        "parameters": job.parameters,
        "options": job.sending.options,
    }
    for what, part in parts.items():
        try:
            dumps(part)
        except Exception as exc:
            return NotTransferableError(what, why(exc))
    return NotTransferableError("statement", _NOT_TOLD)


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Return the outcomes, those that can't be pickled as failures that say so."""
    packed = [_packed(outcome) for outcome in outcomes]
    try:
        reply, is_for_all = dumps_noting(packed)
    except Exception:  # of one of them
        is_for_all = False
    # Each in a pickle of its own takes several times as long: only where one may fail.
    return reply if is_for_all else dumps([_alone(each) for each in packed])


def unpack_outcomes(reply: bytes, jobs: Sequence[Job]) -> list[Outcome]:
    """Return the outcomes of `jobs`, those that can't be unpickled as failures that say so.

    Raises whatever unpickling does where that is not one outcome's doing.
    """
    outcomes: list[Outcome] = []
    for job, packed in zip(jobs, loads(reply), strict=True):
        if type(packed) is list:
            error, sent = packed
            outcomes.append((False, unpack_error(error), sent))
        elif type(packed) is bytes:
            outcomes.append(_read(packed, job))
        else:
            outcomes.append((True, result_of(packed, job.statement)))
    return outcomes


def _packed(outcome: Outcome) -> Any:
    """A failure as a list, with the error in a pickle of its own; a result as `parts_of` it."""
    if not outcome[0]:
        return _failed(outcome[1], outcome[2])  # type: ignore[misc]  # of three, as it failed
    try:
        return parts_of(outcome[1])
    except Exception as exc:  # of a further page
        return _failed(exc, True)


def _failed(error: BaseException, sent: bool) -> list[Any]:
    return [pack_error(error), sent]


def _alone(packed: Any) -> Any:
    """The parts of a result in a pickle of their own."""
    if packed is None or type(packed) is list:
        return packed
    try:
        return dumps(packed)
    except Exception as exc:
        return _failed(NotTransferableError("result", why(exc)), True)


def _read(packed: bytes, job: Job) -> Outcome:
    try:
        return True, result_of(loads(packed), job.statement)
    except Exception as exc:
        error = NotTransferableError("result", why(exc))
        error.__cause__ = exc.with_traceback(None)
        return False, error, True
