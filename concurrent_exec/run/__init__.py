"""The run core: the state machine, the gate, the feeder and the caller's end."""

from concurrent_exec.run.gate import Gate, Work
from concurrent_exec.run.job import Job
from concurrent_exec.run.results import Results
from concurrent_exec.run.run import Run
from concurrent_exec.run.source import Source
from concurrent_exec.run.submissions import Submissions
from concurrent_exec.run.telling import tell

__all__ = ["Gate", "Job", "Results", "Run", "Source", "Submissions", "Work", "tell"]
