"""Write docs/failures.md: what the caller sees of every failure, and how often it is sent.

    python -m tests.failing.table

runs every case on fake nodes, with the driver of this environment, and writes that driver's part;
the other's stays as it is.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from concurrent_exec import Retry
from tests.executors import IN_ONE_PROCESS
from tests.failing.cases import BEYOND_SIMULACRON, CASES, TOGETHER, Case
from tests.failing.observing import Observed, observe, session_to
from tests.failing.simulacron import Simulacron, simulacron
from tests.integration.support import MakeExecutor

FILE = Path(__file__).parents[2] / "docs" / "failures.md"
DRIVERS = ("cassandra-driver", "scylla-driver")
RETRY = Retry(max_attempts=3, initial_backoff=0.5, jitter=False)
"""Its waits give the driver time for a new connection, so that each attempt is sent."""

_INTRODUCTION = """\
# Failures

What a caller sees of each way in which a statement can fail, and how often the statement reached
the node. Fake nodes of Simulacron answered with each error, late, never, or hung up, and counted
what they got; the driver's own policy was to resend nothing. The statement was an INSERT; "retry"
is `Retry(max_attempts=3)`. `python -m tests.failing.table` does it again, and
`tests/failing/test_simulacron.py` holds that it is so, for every executor and both drivers. "All"
are callback, thread, batch and direct; the last two send what is not prepared, as this INSERT is
not, as the first does.
"""

_HEAD = """\
| failure | executor | the caller sees | sent | with retry | with retry, idempotent |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Run all cases and write the part of the driver that is installed."""
    driver = _driver()
    print(f"{len(CASES)} ways to fail, {len(IN_ONE_PROCESS)} executors, {driver}", flush=True)
    with simulacron() as server:
        part = f"## {driver}\n\n{_HEAD}" + "".join(
            line for cases in TOGETHER.values() for line in _lines(server, cases)
        )
    parts = {**_parts_of(FILE), driver: part}
    beyond = ", ".join(f"0x{code:04X} ({what})" for code, what in BEYOND_SIMULACRON.items())
    not_here = f"Not in these tables, as Simulacron can't be told to send them: {beyond}."
    in_order = [parts[name].strip() + "\n" for name in DRIVERS if name in parts]
    FILE.write_text("\n".join([_INTRODUCTION, textwrap.fill(not_here, 100) + "\n", *in_order]))
    print(f"wrote {FILE.relative_to(FILE.parents[1])}")


def _driver() -> str:
    for name in DRIVERS:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    raise SystemExit("table: no driver found: pip install one of " + ", ".join(DRIVERS))


def _lines(server: Simulacron, cases: Sequence[Case]) -> Iterator[str]:
    """Yield the lines of some cases: one each, or more where executors differ."""
    names: list[dict[tuple[str, ...], list[str]]] = [{} for _ in cases]
    for name, make_executor in IN_ONE_PROCESS.items():
        kinds = (
            _observed(server, cases, make_executor),
            _observed(server, cases, make_executor, retry=RETRY),
            _observed(server, cases, make_executor, retry=RETRY, assume_idempotent=True),
        )
        for alike, seen in zip(names, zip(*kinds, strict=True), strict=True):
            errors = ", ".join(sorted({_seen(each) for each in seen}))
            alike.setdefault((errors, *(str(each.sent_failing) for each in seen)), []).append(name)
    for case, alike in zip(cases, names, strict=True):
        code = "" if case.code is None else f"0x{case.code:04X} "
        for (errors, *sent), which in alike.items():
            who = "all" if len(which) == len(IN_ONE_PROCESS) else ", ".join(which)
            line = f"| {' | '.join([code + case.name, who, errors, *sent])} |\n"
            print(line, end="", flush=True)
            yield line


def _observed(
    server: Simulacron, cases: Sequence[Case], make_executor: MakeExecutor, **options: object
) -> list[Observed]:
    with server.cluster() as cluster, session_to(cluster) as session:
        return observe(cluster, session, make_executor, cases, **options)


def _seen(observed: Observed) -> str:
    return f"`{type(observed.failed.result_or_exc).__name__}`"


def _parts_of(file: Path) -> dict[str, str]:
    text = file.read_text() if file.exists() else ""
    found = re.split(r"^## (\S+)$", text, flags=re.MULTILINE)
    return {name: f"## {name}{part}" for name, part in zip(found[1::2], found[2::2], strict=True)}


if __name__ == "__main__":
    main()
