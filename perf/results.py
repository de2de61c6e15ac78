"""What was measured, as JSON: with the machine, the versions and the command that it comes from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from concurrent_exec.comparing.measuring import Go, Spread

FOLDER = Path(__file__).with_name("results")
QUICK_FOLDER = FOLDER.parents[1] / "build" / "perf"
DRIVERS = ("cassandra-driver", "scylla-driver")
_VERSIONED = (*DRIVERS, "concurrent-exec", "acsylla", "scylladb-rs-driver")


def driver() -> str:
    """Return the name of the driver of this environment."""
    (name,) = (name for name in DRIVERS if _version(name))
    return name


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Return what `git describe` calls the tree, or nothing outside of a clone."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def save(script: str, rows: list[dict[str, Any]], folder: Path) -> Path:
    """Write the rows of a script's run into `folder`; return the file."""
    document = {
        "command": f"python -m perf.{script} {' '.join(sys.argv[1:])}".strip(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "driver": driver(),
        "versions": {name: found for name in _VERSIONED if (found := _version(name))},
        "machine": _machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "rows": rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{script}-{driver().removesuffix('-driver')}.json"
    file.write_text(_laid_out(document), encoding="utf-8")
    return file


def _laid_out(document: dict[str, Any]) -> str:
    """Return it as JSON with a line for each row, which is small and reads well in a diff."""
    head = {name: value for name, value in document.items() if name != "rows"}
    lines = ",\n  ".join(json.dumps(row) for row in document["rows"])
    return json.dumps(head, indent=1).removesuffix("\n}") + f',\n "rows": [\n  {lines}\n ]\n}}\n'


def load(script: str, name: str, folder: Path) -> dict[str, Any] | None:
    """Return what a script has saved for the driver of that name, or None if it has not."""
    file = folder / f"{script}-{name.removesuffix('-driver')}.json"
    if not file.is_file():
        return None
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def spread(values: list[float], digits: int = 2) -> list[float]:
    """Return median, lowest and highest."""
    taken = Spread.of(values)
    return [round(value, digits) for value in (taken.median, taken.low, taken.high)]


def figures(goes: list[Go], base: list[Go] | None) -> dict[str, Any]:
    """Return the figures of a way's goes.

    Each is the median over the rounds, the lowest and the highest; a ratio is to `base` within
    the same round.
    """
    row: dict[str, Any] = {
        "statements": goes[0].statements,
        "rounds": len(goes),
        "failed": sum(go.failed for go in goes),
        "rate": spread([go.rate for go in goes], 0),
        "cpu_us": spread([go.cpu_us for go in goes]),
        "peak_mib": spread([go.peak_bytes / 2**20 for go in goes], 1),
    }
    if base is not None:
        pairs = list(zip(goes, base, strict=True))
        row["cpu_ratio"] = spread([go.cpu_us / of.cpu_us for go, of in pairs], 3)
        row["rate_ratio"] = spread([go.rate / of.rate if of.rate else 0.0 for go, of in pairs], 3)
    for name in ("p50", "p99", "p999"):
        taken = [getattr(go.latency, name) * 1000 for go in goes if go.latency is not None]
        if taken:
            row[f"{name}_ms"] = spread(taken)
    return row
