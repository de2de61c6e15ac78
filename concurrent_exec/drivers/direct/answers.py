"""How a wire tells of what has come to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Succeeded = Sequence[tuple[Any, Any]]
"""Messages with their results."""
Failed = Sequence[tuple[Any, BaseException]]
"""Messages with what went wrong."""
OnAnswers = Callable[[Succeeded, Failed], None]
