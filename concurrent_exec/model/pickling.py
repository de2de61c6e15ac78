"""Exceptions in a form that survives pickling.

Several of the drivers' exceptions do not: unpickling calls their class with the arguments of
`Exception`, which are not those of their own `__init__`, and some hold a `Host`, which holds a
lock. Here an exception travels as its class, its arguments and its attributes, also those that a
type of C or a slot keeps (an OSError's filename), and whatever among these can't be pickled travels
as its text. One whose class nobody could import, as a function has made it, travels as the next of
its base classes, with a note that says so.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from functools import lru_cache
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from concurrent_exec.model.errors import NotTransferableError

_LEFT_BEHIND = {"obj"}
"""What an AttributeError was about may be anything; Python's own pickling leaves it, too."""


def _rebuild(
    kind: type[BaseException],
    args: tuple[Any, ...],
    state: dict[str, Any],
    fields: dict[str, Any],
) -> BaseException:
    # Its own __init__ may want other arguments; that of the C type under it may not.
    builtin = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    try:
        exc = kind.__new__(kind, *args)
        builtin.__init__(exc, *args)  # type: ignore[misc]  # a base of its very class
    except TypeError:
        exc = kind.__new__(kind)
    if type(exc) is not kind:  # OSError makes what fits its number
        exc = kind.__new__(kind)
    exc.args = args
    for name, value in fields.items():
        # One that was never set is None, too, but an OSError shows it once it is set to that.
        if value is not None or getattr(exc, name, None) is not None:
            with suppress(AttributeError, TypeError):  # of a slot that its class refuses to set
                setattr(exc, name, value)
    exc.__dict__.update(state)
    return exc


@lru_cache(256)
def _names(kind: type[BaseException]) -> list[str]:
    """Return the names of what its instances keep besides `args` and `__dict__`."""
    found: list[str] = []
    for base in kind.__mro__[: kind.__mro__.index(BaseException)]:
        if base is BaseExceptionGroup:  # which has all of it in `args`
            continue
        slots: Any = MemberDescriptorType
        if base.__module__ == "builtins":
            slots |= GetSetDescriptorType
        found += [name for name, value in vars(base).items() if isinstance(value, slots)]
    return [name for name in found if name not in _LEFT_BEHIND and not name.startswith("__")]


def _fields(exc: BaseException) -> dict[str, Any]:
    kind: Any = type(exc)
    return {name: getattr(exc, name, None) for name in _names(kind)}


def twin(exc: BaseException) -> BaseException:
    """Return an exception like `exc`, with its attributes and its cause."""
    made = _rebuild(type(exc), exc.args, vars(exc), _fields(exc))
    made.__cause__ = exc.__cause__
    return made


class PortableException:
    """Stands for an exception while it is pickled; what is unpickled is the exception itself."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    def __reduce__(self) -> tuple[Any, ...]:
        exc = self._exc
        args = tuple(portable(value) for value in exc.args)
        state = {name: portable(value) for name, value in vars(exc).items()}
        kind = next(base for base in type(exc).__mro__ if portable(base) is base)
        if kind is not type(exc):
            note = f"concurrent_exec: it was a {type(exc).__name__}, whose class can't be imported"
            state["__notes__"] = [*state.get("__notes__", ()), note]
        fields = {name: portable(value) for name, value in _fields(exc).items()}
        return _rebuild, (kind, args, state, fields)


def portable(value: Any) -> Any:
    """Return `value` in a form that can be pickled, losing as little of it as possible."""
    if isinstance(value, BaseException):
        return PortableException(value)
    if type(value) is dict:
        return {portable(key): portable(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(portable(item) for item in value)
    try:
        pickle.dumps(value)
    except Exception:  # pickle promises no particular type for what it can't do
        return str(value)
    return value


def pack_error(error: BaseException) -> bytes:
    """Return `error` for `unpack_error`, whatever it holds."""
    kind = type(error).__name__
    try:
        pickled = pickle.dumps(PortableException(error))
    except Exception as exc:  # as it holds itself, for one
        pickled = pickle.dumps(PortableException(_not_had(kind, exc)))
    return pickle.dumps((kind, pickled))


def unpack_error(packed: bytes) -> BaseException:
    """Return the error that `pack_error` has packed, or one that says why it can't be had here."""
    kind, pickled = pickle.loads(packed)
    try:
        error: BaseException = pickle.loads(pickled)
    except Exception as exc:
        error = _not_had(kind, exc)
        error.__cause__ = exc.with_traceback(None)
    return error


def _not_had(kind: str, exc: Exception) -> NotTransferableError:
    return NotTransferableError("error", f"{kind}: {why(exc)}")


_OF_PICKLE = ("cannot pickle ", "Can't pickle ", "Can't get attribute ", "No module named ")


def why(exc: Exception) -> str:
    """Say why something can't be pickled or unpickled, without any of its values."""
    # What is said by pickle itself names types; what is said by others may show values.
    text = str(exc)
    return text if text.startswith(_OF_PICKLE) else type(exc).__name__
