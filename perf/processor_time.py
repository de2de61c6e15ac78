"""The processor time that another process has taken."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds_of(pid: int) -> float:
    """Return the seconds of a process so far, user and system, of all its threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
