"""Exceptions in a form that survives pickling.

Several of the drivers' exceptions do not: unpickling calls their class with the arguments of
`Exception`, which are not those of their own `__init__`, and some hold a `Host`, which holds a
lock. Here an exception travels as its class, its arguments and its attributes, and whatever
among these can't be pickled travels as its text. One whose class nobody could import, as a function
has made it, travels as the next of its base classes, with a note that says so.
"""

from __future__ import annotations

import pickle
from typing import Any


def _rebuild(
    kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    # Its own __init__ may want other arguments; what the C type under it keeps is set by that
    # type's, an OSError's errno for instance.
    builtin = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    try:
        exc = kind.__new__(kind, *args)
        builtin.__init__(exc, *args)  # type: ignore[misc]  # a base of its very class
    except TypeError:
        exc = kind.__new__(kind)
    exc.args = args
    exc.__dict__.update(state)
    return exc


def twin(exc: BaseException) -> BaseException:
    """Return an exception like `exc`, with its attributes and its cause."""
    made = _rebuild(type(exc), exc.args, vars(exc))
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
        return _rebuild, (kind, args, state)


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
