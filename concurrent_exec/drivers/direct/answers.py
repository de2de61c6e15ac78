"""How a wire tells of what has come to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from concurrent_exec.run import Job

Succeeded = Sequence[tuple[Job, Any]]
"""Jobs with their results."""
Failed = Sequence[tuple[Job, BaseException]]
"""Jobs with what went wrong."""
OnAnswers = Callable[[Succeeded, Failed], None]
