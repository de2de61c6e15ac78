"""An execution profile under which the driver hands a statement to a node at most once."""

from __future__ import annotations

from copy import copy

from cassandra.cluster import ExecutionProfile
from cassandra.policies import FallthroughRetryPolicy, NoSpeculativeExecutionPolicy


def at_most_once_profile(base: ExecutionProfile | None = None) -> ExecutionProfile:
    """Return a copy of `base` under which the driver resends nothing, as a new profile.

    base: an ExecutionProfile, by default one with the driver's own settings. Whatever else it
        says holds in the copy too, and they share its load balancing policy.

    Under it the driver still goes on to the next host where it could not hand the statement to
    one, and prepares a statement anew that a node has forgotten and so refused. Both drivers'
    `FallthroughRetryPolicy` answers every question of theirs with "no", and a test holds that;
    their `NeverRetryPolicy` does not: it leaves connection and server errors to the default,
    which resends. A statement that has a `retry_policy` of its own keeps to that.

    Raises TypeError if `base` is no ExecutionProfile.
    """
    if base is None:
        base = ExecutionProfile()
    if not isinstance(base, ExecutionProfile):
        raise TypeError(
            f"base must be an ExecutionProfile or None, not {type(base).__name__}; "
            "session.get_execution_profile(name) returns that of a name"
        )
    profile = copy(base)
    profile.retry_policy = FallthroughRetryPolicy()
    profile.speculative_execution_policy = NoSpeculativeExecutionPolicy()
    return profile
