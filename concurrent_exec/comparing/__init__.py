"""Strategies side by side on the user's own statements."""

from concurrent_exec.comparing.choosing import Recommendation
from concurrent_exec.comparing.compare import Progress, compare, may_be_repeated
from concurrent_exec.comparing.comparison import Comparison
from concurrent_exec.comparing.measuring import Spread
from concurrent_exec.comparing.row import Row

__all__ = [
    "Comparison",
    "Progress",
    "Recommendation",
    "Row",
    "Spread",
    "compare",
    "may_be_repeated",
]
