"""Mutation testing: each place in the code that decides is broken, and a test must notice.

`make mutants`, or `python -m tests.mutants ROOM...` in its environment, has mutmut make and try
the mutants, one room after the other in a copy at `.mutants/ROOM`. tests/mutants.toml says which
files a room is, which tests have to notice, and why a mutant that no test noticed may live. One
that lives and is not explained there is printed, and the command fails.

In such a copy `mutmut show` and `mutmut run` take a mutant's name, as ever.
"""

from __future__ import annotations

import configparser
import contextlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).resolve().parent.parent
NOTICED = {"killed", "timeout", "segfault"}
"""A mutant that hangs, or takes the interpreter with it, has been noticed as well."""

COPIED = ["docs", "examples", "perf", "tests"]
"""What the tests read besides the package."""


@dataclass(frozen=True)
class Mutant:
    """A mutant that no test noticed."""

    name: str
    """As mutmut has it."""
    change: str
    """Which function, what stood there and what stands there now; in one line."""


@dataclass
class Verdicts:
    """What became of the mutants of a room."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many of each status."""
    left: list[Mutant] = field(default_factory=list)


@dataclass(frozen=True)
class Explanation:
    """Why some mutants may live."""

    why: str
    mutants: list[str]
    """Patterns of `Mutant.change`, in which only * is special."""

    def covers(self, mutant: Mutant) -> bool:
        return any(
            re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), mutant.change)
            for pattern in self.mutants
        )


def prepare(name: str, room: dict[str, Any]) -> Path:
    """Make the folder in which mutmut works on a room, and return it."""
    folder = ROOT / ".mutants" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in ["concurrent_exec", *COPIED]:
        (folder / entry).symlink_to(ROOT / entry)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    settings["mutmut"].update(
        only_mutate="\n".join(room["mutate"]),
        pytest_add_cli_args_test_selection="\n".join([*room["tests"], *room.get("options", [])]),
        also_copy="\n".join(COPIED),
    )
    with (folder / "setup.cfg").open("w") as file:
        settings.write(file)
    return folder


def tried(folder: Path) -> Verdicts:
    """Have mutmut try what it makes in `folder`, and read what it found out."""
    with (folder / "log").open("w") as log:
        # One at a time: many of the tests are of threads.
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1"]
        subprocess.run(command, cwd=folder, check=True, stdout=log)
    return verdicts(folder)


def verdicts(folder: Path) -> Verdicts:
    """Read what mutmut found out in `folder`."""
    found = Verdicts()
    with contextlib.chdir(folder):
        for meta in sorted(Path("mutants").rglob("*.py.meta")):
            source = meta.relative_to("mutants").with_suffix("")
            data = SourceFileMutationData(path=source)
            data.load()
            for name, code in data.exit_code_by_key.items():
                status = status_by_exit_code[code]
                found.counts[status] += 1
                if status not in NOTICED:
                    change = one_line(name, get_diff_for_mutant(name, path=source))
                    found.left.append(Mutant(name, change))
    return found


def one_line(name: str, diff: str) -> str:
    """Return what a mutant changes, as "room.module.function: old => new"."""
    place = re.sub(r"\.x_?", ".", name.rpartition("__mutmut_")[0]).replace("ǁ", ".")
    place = place.removeprefix("concurrent_exec.").replace("..", ".")
    body = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    old, new = (
        " ".join(" ".join(line[1:].split()) for line in body if line.startswith(sign))
        for sign in "-+"
    )
    return f"{place}: {old} => {new}"


def main() -> int:
    """Try the rooms named, by default all; return whether a mutant lives without a reason."""
    written = tomllib.loads((ROOT / "tests/mutants.toml").read_text())
    explanations = [Explanation(**each) for each in written["explained"]]
    rooms = written["rooms"]
    table, unexplained = [], 0
    for name in sys.argv[1:] or rooms:
        folder = prepare(name, rooms[name])
        print(f"{name}: under way in {folder / 'log'}", flush=True)
        found = tried(folder)
        unknown = [
            mutant for mutant in found.left if not any(each.covers(mutant) for each in explanations)
        ]
        for mutant in unknown:
            print(f"lives: {mutant.name}\n    {mutant.change}", flush=True)
        unexplained += len(unknown)
        table.append((name, found.counts, len(found.left) - len(unknown)))
    print("| room | mutants | noticed | of these by a hang | live, explained | live, unexplained |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, counts, known_count in table:
        total, noticed = counts.total(), sum(counts[status] for status in NOTICED)
        print(
            f"| {name} | {total} | {noticed} | {counts['timeout']} | {known_count} "
            f"| {total - noticed - known_count} |"
        )
    return unexplained > 0


if __name__ == "__main__":
    sys.exit(main())
