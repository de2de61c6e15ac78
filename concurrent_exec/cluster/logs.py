"""What a node's log says: why it failed, and whom it sees."""

from __future__ import annotations

import re
from pathlib import Path

_LONGEST_REASON = 5
_ERROR = re.compile(r"^ERROR\s+\[[^\]]*\]\s+\S+ \S+\s+\S+ - (.*)")
_RECORD = re.compile(r"^(?:TRACE|DEBUG|INFO|WARN|ERROR)\s+\[")
_STACK = re.compile(r"^\s+(?:at |\.\.\. \d+ )")


def failure_reason(system_log: Path, console_log: Path, offset: int = 0) -> list[str]:
    """Return a few plain lines on why a node failed, from what it wrote since `offset` bytes.

    The first errors of its log with the exceptions' messages; without any, the last lines of what
    the JVM printed, else of the log.
    """
    lines = _read_from(system_log, offset)
    console = [line for line in _read_from(console_log, 0) if not _STACK.match(line)]
    return (_errors(lines) or console[-_LONGEST_REASON:] or lines[-3:])[:_LONGEST_REASON]


def sees_up(system_log: Path, address: str) -> bool:
    """Whether the last word of the node's log on another node is that this one is up."""
    up = False
    mention = re.compile(rf"InetAddress /?{re.escape(address)}(?::\d+)? is now (UP|DOWN)")
    for line in _read_from(system_log, 0):
        match = mention.search(line)
        if match:
            up = match[1] == "UP"
    return up


def _errors(lines: list[str]) -> list[str]:
    """Return the messages of the ERROR records, each with its exceptions' messages."""
    reasons: list[str] = []
    in_error = False
    for line in lines:
        match = _ERROR.match(line)
        if match:
            in_error = True
            line = match[1]
        elif _RECORD.match(line):
            in_error = False
        if in_error and not _STACK.match(line) and line.strip() and line.strip() not in reasons:
            reasons.append(line.strip())
    return reasons


def _read_from(path: Path, offset: int) -> list[str]:
    try:
        with path.open("rb") as file:
            # A log that has been rolled over since starts anew.
            file.seek(offset if offset <= path.stat().st_size else 0)
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
