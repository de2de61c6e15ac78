"""A session, an input and a clock that play a schedule exactly, for tests of code on top of us.

    clock = VirtualClock()
    session = ScriptedSession(clock=clock)
    executor = CallbackExecutor(session, concurrency=2, clock=clock)
    results = executor.map("SELECT ...", [(1,), (2,), (3,)])
    first, second = session.pending
    second.succeed([("two",)])
    first.fail(OperationTimedOut())

A real cluster is the better test of what a statement does. These are for what a cluster can't be
made to do on demand: answer in a given order, late, twice, at once or never.
"""

from concurrent_exec.testing.clock import VirtualClock
from concurrent_exec.testing.input import ScriptedInput
from concurrent_exec.testing.quiet import wait_until_quiet
from concurrent_exec.testing.session import Reply, Request, ScriptedSession

__all__ = [
    "Reply",
    "Request",
    "ScriptedInput",
    "ScriptedSession",
    "VirtualClock",
    "wait_until_quiet",
]
