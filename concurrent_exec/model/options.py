"""Options, and the checks that refuse a wrong one by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, cast

from concurrent_exec.model.protocols import Limiter


class _NotSet(Enum):
    NOT_SET = "NOT_SET"

    def __repr__(self) -> str:
        return self.name


NOT_SET: Final = _NotSet.NOT_SET
"""The option was left out: the session decides."""

NotSet = Literal[_NotSet.NOT_SET]


def positive_int(name: str, value: object) -> int:
    """Return `value` if it is a whole number of at least 1.

    Raises TypeError or ValueError naming the option otherwise.
    """
    return whole_number(name, value, least=1)


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return `value` if it is a whole number of at least `least`.

    Raises TypeError or ValueError naming the option otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def limit_or_limiter(name: str, value: object) -> int | Limiter:
    """Return `value` if it is a whole number of at least 1, or a limiter whose limits are.

    Raises TypeError or ValueError naming the option otherwise.
    """
    if not isinstance(value, type) and callable(getattr(value, "settled", None)):
        limiter = cast("Limiter", value)
        positive_int(f"{name}.limit", limiter.limit)
        positive_int(f"{name}.max_limit", limiter.max_limit)
        return limiter
    if not isinstance(value, int) or isinstance(value, bool):
        kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(
            f"{name} must be a whole number, or a limiter such as AdaptiveConcurrency(), not {kind}"
        )
    return positive_int(name, value)


def boolean(name: str, value: object) -> bool:
    """Return `value` if it is True or False; raises TypeError naming the option otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is among `allowed`; raises ValueError naming the option otherwise."""
    if not isinstance(value, str) or value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {choices}, not {value!r}")
    return value


def send_options(
    execution_profile: Any, timeout: float | NotSet | None, custom_payload: Any, trace: bool
) -> dict[str, Any]:
    """Return the keyword arguments for the session, of which only those that were given.

    Raises TypeError or ValueError naming the option that is wrong.
    """
    options: dict[str, Any] = {}
    if execution_profile is not NOT_SET:
        options["execution_profile"] = execution_profile
    if timeout is not NOT_SET:
        options["timeout"] = None if timeout is None else positive_seconds("timeout", timeout)
    if custom_payload is not None:
        if not isinstance(custom_payload, Mapping):
            kind = type(custom_payload).__name__
            raise TypeError(f"custom_payload must be a mapping, not {kind}")
        for key, value in custom_payload.items():
            if not (isinstance(key, str) and (value is None or isinstance(value, bytes))):
                kinds = f"{type(key).__name__} to {type(value).__name__}"
                raise TypeError(f"custom_payload must map texts to bytes, not {kinds}")
        options["custom_payload"] = dict(custom_payload)
    if boolean("trace", trace):
        options["trace"] = True
    return options


def positive_seconds(name: str, value: object) -> float:
    """Return `value` as a float if it is a finite number of seconds above 0.

    Raises TypeError or ValueError naming the option otherwise; both say that None is allowed too.
    """
    return positive_number(name, value, "seconds")


def positive_number(name: str, value: object, unit: str) -> float:
    """Return `value` as a float if it is a finite number of `unit` above 0.

    Raises TypeError or ValueError naming the option otherwise; both say that None is allowed too.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {unit} or None, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{name} must be a finite number of {unit} above 0, or None, not {number}")
    return number


def number(
    name: str, value: object, *, above: float | None = None, at_least: float | None = None
) -> float:
    """Return `value` as a float if it is a finite number within the bound that is given.

    Raises TypeError or ValueError naming the option otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if above is not None and not above < result < math.inf:
        raise ValueError(f"{name} must be a finite number above {above:g}, not {result}")
    if at_least is not None and not at_least <= result < math.inf:
        raise ValueError(f"{name} must be a finite number of at least {at_least:g}, not {result}")
    return result
