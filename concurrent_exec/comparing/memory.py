"""How much memory this process has had."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


class PeakMemory:
    """The most memory that this process has had resident since this object was made.

    `is_own` is False where the system can't start the measure anew: then it counts from the
    process's start. Linux can: "5" written to clear_refs resets VmHWM (proc(5)).
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.is_own = True
        except OSError:
            self.is_own = False

    def bytes(self) -> int:
        """Return it as of now."""
        if self.is_own:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "VmHWM":
                    return int(value.removesuffix("kB")) * 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most * (1 if sys.platform == "darwin" else 1024)
