"""The run core: the state machine, the gate, the feeder and the caller's end."""

from concurrent_exec.run.gate import Gate
from concurrent_exec.run.job import Job
from concurrent_exec.run.lane import Lanes
from concurrent_exec.run.message import Message
from concurrent_exec.run.results import Results
from concurrent_exec.run.run import Run
from concurrent_exec.run.source import Lists, Source
from concurrent_exec.run.submissions import Submissions
from concurrent_exec.run.telling import tell
from concurrent_exec.run.timer import SystemClock
from concurrent_exec.run.watch import Seat, Watch
from concurrent_exec.run.work import Work, succeed_all

__all__ = [
    "Gate",
    "Job",
    "Lanes",
    "Lists",
    "Message",
    "Results",
    "Run",
    "Seat",
    "Source",
    "Submissions",
    "SystemClock",
    "Watch",
    "Work",
    "succeed_all",
    "tell",
]
