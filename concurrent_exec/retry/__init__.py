"""What is tried again, and when."""

from concurrent_exec.retry.at_most_once import at_most_once_profile
from concurrent_exec.retry.classify import Verdict, classify, is_overload, may_be_resent
from concurrent_exec.retry.policy import Retry

__all__ = [
    "Retry",
    "Verdict",
    "at_most_once_profile",
    "classify",
    "is_overload",
    "may_be_resent",
]
