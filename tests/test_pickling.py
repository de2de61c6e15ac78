"""Exceptions that go to another process: nothing that Python's own keep is lost on the way."""

from __future__ import annotations

import builtins
import pickle
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec import NotTransferableError
from concurrent_exec.model.pickling import PortableException, pack_error, twin, unpack_error

BUILTIN = sorted(
    {
        value
        for value in vars(builtins).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    },
    key=lambda kind: kind.__name__,
)

words = st.text(max_size=3)
numbers = st.integers(0, 200)
unicode = {
    UnicodeDecodeError: st.tuples(words, st.binary(max_size=3), numbers, numbers, words),
    UnicodeEncodeError: st.tuples(words, words, numbers, numbers, words),
    UnicodeTranslateError: st.tuples(words, numbers, numbers, words),
}
of_os = st.one_of(
    st.tuples(words),
    st.tuples(numbers, words),
    st.tuples(numbers, words, words),
    st.tuples(numbers, words, words, st.none(), words),
    st.tuples(numbers, words, numbers),
)
of_syntax = st.one_of(
    st.tuples(words),
    st.tuples(words, st.tuples(words, numbers, numbers, words)),
    st.tuples(words, st.tuples(words, numbers, numbers, words, numbers, numbers)),
)
groups = st.tuples(words, st.lists(st.builds(OSError, numbers, words, words), min_size=1))
names = {
    ImportError: st.fixed_dictionaries({"name": words, "path": words}),
    AttributeError: st.fixed_dictionaries({"name": words, "obj": st.builds(object)}),
    NameError: st.fixed_dictionaries({"name": words}),
}


def what_fits(kinds: dict[Any, Any], kind: type[BaseException], other: Any) -> Any:
    return next((made for base, made in kinds.items() if issubclass(kind, base)), other)


def fitting(value: Any) -> Any:
    if isinstance(value, bytes):
        return st.binary(max_size=3)
    return numbers if isinstance(value, int) else words


@st.composite
def exceptions(draw: Any) -> BaseException:
    kind = draw(st.sampled_from(BUILTIN))
    fits = {**unicode, OSError: of_os, SyntaxError: of_syntax, BaseExceptionGroup: groups}
    arguments = draw(what_fits(fits, kind, st.lists(words | numbers).map(tuple)))
    exc: BaseException = kind(*arguments, **draw(what_fits(names, kind, st.just({}))))
    there = {**attributes(exc), "note": None}
    for name in sorted(draw(st.sets(st.sampled_from(sorted(there)))) - {"args"}):
        with suppress(AttributeError):  # it can't be set
            # A value of another type may take the interpreter by surprise.
            setattr(exc, name, draw(fitting(there[name])))
    return exc


def attributes(exc: BaseException) -> dict[str, Any]:
    """Return all that can be seen of it but for what it was about, which may be anything."""
    return {
        name: getattr(exc, name)
        for name in dir(exc)
        if not name.startswith("__")
        and name != "obj"
        and hasattr(exc, name)
        and not callable(getattr(exc, name))
    }


def seen(value: Any) -> Any:
    if isinstance(value, BaseException):
        return type(value), str(value), {k: seen(each) for k, each in attributes(value).items()}
    return [type(value), *map(seen, value)] if isinstance(value, list | tuple) else value


def copies(exc: BaseException) -> list[Any]:
    return [twin(exc), pickle.loads(pickle.dumps(PortableException(exc)))]


@given(exceptions())
def test_all_that_a_builtin_exception_keeps_survives(exc: BaseException) -> None:
    for copy in copies(exc):
        assert seen(copy) == seen(exc)


@pytest.mark.parametrize(
    "exc",
    [
        FileNotFoundError(2, "No such file", "a.csv"),
        OSError(18, "Invalid cross-device link", "a", None, "b"),
        ImportError("no", name="pandas", path="/lib"),
        SyntaxError("bad", ("a.py", 1, 2, "x", 1, 3)),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        StopIteration(3),
        SystemExit(4),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_nothing_is_lost_that_pythons_own_pickling_keeps(exc: BaseException) -> None:
    # Not by pickle, which other libraries teach to reduce exceptions in another way.
    reduced: Any = exc.__reduce__()
    make, arguments, *state = reduced
    made = make(*arguments)
    for each in state:
        made.__setstate__(each)
    pythons = attributes(made)
    for copy in copies(exc):
        assert {name: attributes(copy)[name] for name in pythons} == pythons


class Slotted(OSError):
    """Keeps something in a slot, and refuses to have another one set."""

    __slots__ = ("_where", "when")

    def __init__(self, when: int) -> None:
        super().__init__(5, "broken", "a file")
        self.when = when

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "strerror":
            raise AttributeError("can't be set")
        super().__setattr__(name, value)


def test_what_a_slot_keeps_survives() -> None:
    for copy in copies(Slotted(7)):
        assert (type(copy), copy.when, copy.filename, str(copy)) == (
            Slotted,
            7,
            "a file",
            "[Errno 5] broken: 'a file'",
        )


class Circular(Exception):
    """Holds itself."""

    def __init__(self) -> None:
        super().__init__("private")
        self.itself = self


class Unknown(Exception):
    """Has a class that is not there any more when it comes."""


def test_an_error_that_can_not_be_had_is_told_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    circular = unpack_error(pack_error(Circular()))
    assert isinstance(circular, NotTransferableError)
    assert (circular.what, circular.reason) == ("error", "Circular: RecursionError")
    packed = pack_error(Unknown("private"))
    monkeypatch.delattr(f"{__name__}.Unknown")
    unknown = unpack_error(packed)
    assert isinstance(unknown, NotTransferableError)
    assert str(unknown).startswith(
        "it failed, but its error can't go from one process to another "
        "(Unknown: Can't get attribute 'Unknown' on "
    )
    assert isinstance(unknown.__cause__, AttributeError)
    assert unknown.__cause__.__traceback__ is None
