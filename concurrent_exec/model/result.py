"""What became of one statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

from concurrent_exec.model.pickling import PortableException, portable, twin
from concurrent_exec.model.statement import short_text, statement_text

R = TypeVar("R")

_NOTE = "concurrent_exec: statement "


@dataclass(frozen=True, slots=True)
class Failure:
    """Which statement failed, and how often it was tried.

    A pickled Failure keeps the statement's text only: prepared statements don't pickle. Values of
    parameters may be private, so its repr shows the text of the statement and none of them.
    """

    index: int
    """The statement's position in the input, counted from 0."""
    statement: Any
    """The statement as it was given."""
    parameters: Any
    """Its parameters as they were given."""
    attempts: int = 1
    """How often it was handed to the session; 0 for one that was never sent."""
    errors: tuple[BaseException, ...] = ()
    """What its earlier attempts failed with, in their order; the last error is the result's."""
    batch_size: int = 1
    """How many statements the message had that failed last: above 1 the error is the whole
    batch's, and may be another statement's doing."""

    def __repr__(self) -> str:
        text = short_text(self.statement)
        return f"Failure(index={self.index}, statement={text!r}, attempts={self.attempts})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Failure, (
            self.index,
            statement_text(self.statement),
            portable(self.parameters),
            self.attempts,
            tuple(PortableException(exc) for exc in self.errors),
            self.batch_size,
        )

    def __copy__(self) -> Failure:
        return self


class _Pair(NamedTuple, Generic[R]):
    success: bool
    result_or_exc: R | BaseException


class ExecutionResult(_Pair[R]):
    """The outcome of one statement: a named tuple of `success` and `result_or_exc`.

    It unpacks, compares and pickles as the drivers' named tuple of that name does. One that
    failed also knows its `failure`; of one that succeeded that is None.
    """

    failure: Failure | None = None

    @classmethod
    def failed(cls, exc: BaseException, failure: Failure) -> ExecutionResult[R]:
        """Return the result of a statement that failed with `exc`."""
        result = cls(False, exc)
        result.failure = failure
        return result

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """The failed statement's position in the input; None for one that succeeded.

        It takes the place of `tuple.index`, which nobody misses on a pair.
        """
        return None if self.failure is None else self.failure.index

    @property
    def statement(self) -> Any:
        """The statement that failed; None for one that succeeded."""
        return None if self.failure is None else self.failure.statement

    @property
    def parameters(self) -> Any:
        """The parameters of the statement that failed; None for one that succeeded."""
        return None if self.failure is None else self.failure.parameters

    @property
    def attempts(self) -> int | None:
        """How often the failed statement was sent; None for one that succeeded."""
        return None if self.failure is None else self.failure.attempts

    @property
    def errors(self) -> tuple[BaseException, ...] | None:
        """What the failed statement's earlier attempts failed with; None for a success."""
        return None if self.failure is None else self.failure.errors

    @property
    def batch_size(self) -> int | None:
        """How many statements the failed message had, 1 where it was alone; None for a success."""
        return None if self.failure is None else self.failure.batch_size

    def unwrap(self) -> R:
        """Return the result, or raise the exception of a statement that failed.

        The exception is the driver's own object, with the attribute `failure` and a note that
        names index and statement, but none of the parameters' values. A driver hands one object
        to all the requests of a connection that died, and a batch has one for all its statements:
        the first to be raised is that object, the others are like it.
        """
        if self.success:
            return cast(R, self.result_or_exc)
        exc = cast(BaseException, self.result_or_exc)
        try:
            if self.failure is not None:
                exc = _annotated(exc, self.failure)
            # An exception raised a second time would otherwise drag the first one's frames.
            raise exc.with_traceback(None)
        finally:
            del self, exc  # or the exception's traceback and this frame would refer to each other

    def __reduce__(self) -> tuple[Any, ...]:
        if self.success or not isinstance(self.result_or_exc, BaseException):
            return type(self), tuple(self)
        return _rebuild, (type(self), PortableException(self.result_or_exc), self.failure)

    def __copy__(self) -> ExecutionResult[R]:
        return self


def _rebuild(
    kind: type[ExecutionResult[Any]], exc: BaseException, failure: Failure | None
) -> ExecutionResult[Any]:
    result = kind(False, exc)
    result.failure = failure
    return result


def _annotated(exc: BaseException, failure: Failure) -> BaseException:
    """Return `exc` with what is known of the failure, or a twin where it tells of another's."""
    if vars(exc).setdefault("failure", failure) is not failure:
        exc = twin(exc)
    times = f" after {failure.attempts} attempts" if failure.attempts > 1 else ""
    batch = f" in a batch of {failure.batch_size}" if failure.batch_size > 1 else ""
    text = short_text(failure.statement)
    note = f"{_NOTE}{failure.index} of the input failed{batch}{times}: {text}"
    earlier = [text for text in getattr(exc, "__notes__", ()) if not text.startswith(_NOTE)]
    exc.__notes__ = [*earlier, note]
    exc.failure = failure  # type: ignore[attr-defined]
    return exc
