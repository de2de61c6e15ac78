"""How much of the package the tests ran: `make coverage` prints it, room by room.

Reads the report that `coverage json` has written, whose path is its argument. Fails where lines or
branches of the whole package are below what is wanted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

WANTED = 95
"""Per cent, of lines and of branches."""


def percent(counts: Counter[str], what: str) -> float:
    """Return how many per cent of the lines or branches were run; all, where there are none."""
    total = counts[f"{what} in all"]
    return 100 * counts[what] / total if total else 100.0


def main() -> int:
    """Print the table; return whether too little was run."""
    files = json.loads(Path(sys.argv[1]).read_text())["files"]
    rooms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, file in files.items():
        found = file["summary"]
        counts = Counter(
            {
                "lines": found["covered_lines"],
                "lines in all": found["num_statements"],
                "branches": found["covered_branches"],
                "branches in all": found["num_branches"],
            }
        )
        parts = Path(name).relative_to("concurrent_exec").with_suffix("").parts
        rooms[parts[0]] += counts
        rooms["**all**"] += counts
    print("| room | lines | run | branches | run |\n| --- | --- | --- | --- | --- |")
    for room, counts in sorted(rooms.items()):
        print(
            f"| {room.replace('__init__', '(the names of the package)')} "
            f"| {counts['lines in all']} | {percent(counts, 'lines'):.1f} % "
            f"| {counts['branches in all']} | {percent(counts, 'branches'):.1f} % |"
        )
    return min(percent(rooms["**all**"], what) for what in ("lines", "branches")) < WANTED


if __name__ == "__main__":
    sys.exit(main())
