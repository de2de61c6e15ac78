"""Every sample of the README and of the site runs: each page's own, one after another.

What a page may take for granted: the public names of `concurrent_exec`; `session`, connected to a
keyspace `shop` with the tables below; `insert`, `select` and `update`, prepared for `users`; `rows`
and `keys`, lists of parameters for the first two; and 127.0.0.1, where the Cassandra is. What else
it needs stands in the page, in comments that are not shown (`invisible-code-block: python`). Lines
of a shell run in a folder of the page's own.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cassandra.cluster import Cluster
from prometheus_client import CollectorRegistry
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

import concurrent_exec
from concurrent_exec.connect import ConnectionOptions
from tests.conftest import OWN_CLUSTER, PROOF, REQUEST_TIMEOUT

ROOT = Path(__file__).parents[1]
TABLES = (
    "users (id int PRIMARY KEY, name text, born date, country text)",
    "events (user int, seq int, text text, PRIMARY KEY (user, seq))",
)
ROWS = [(number, f"user {number}") for number in range(200)]

# Lines that install and start things are for the reader's machine.
SHELL = """
set -euo pipefail
make() { :; }; pip() { :; }; uvicorn() { :; }; python() { :; }; python3() { :; }
.() { :; }
concurrent-exec() {
    if [ "$1" != cassandra ]; then
        command concurrent-exec "$@"
    elif [ "$2" = start ]; then
        echo "$CONCURRENT_EXEC_CONTACT_POINTS"
    fi
}
"""


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if re.search(r"```(python|shell)$", page.read_text(), re.M)]


def run_page(text: str, path: Path, namespace: dict[str, Any], folder: Path) -> int:
    """Run the samples of a page; return how many there were."""
    done = 0
    with asyncio.Runner() as runner:

        def python(example: Example) -> None:
            # Where the page has it, for tracebacks.
            source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
            code = compile(
                source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
            waiting = eval(code, example.namespace)
            if inspect.iscoroutine(waiting):
                runner.run(waiting)

        def shell(example: Example) -> str | None:
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            ended = subprocess.run(
                ["bash", "-c", SHELL + example.parsed],
                cwd=folder,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=100,
            )
            return ended.stderr or f"exit status {ended.returncode}" if ended.returncode else None

        document = Document(text, str(path))
        document.namespace = namespace
        for parser in (CodeBlockParser("python", python), CodeBlockParser("shell", shell)):
            for region in parser(document):
                document.add(region)
        for example in document.examples():
            example.evaluate()
            done += 1
    return done


@pytest.fixture
def shop(session: Any) -> Iterator[str]:
    """The name of a keyspace as the samples have it, with their tables."""
    name = f"shop_{uuid.uuid4().hex[:12]}"
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    for table in TABLES:
        session.execute(f"CREATE TABLE {name}.{table}")
    yield name
    session.execute(f"DROP KEYSPACE {name}", timeout=REQUEST_TIMEOUT)


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cluster]]:
    """The driver's clusters that a page makes, which are shut down when it has ended."""
    made: list[Cluster] = []
    init = Cluster.__init__

    def noted(self: Any, *arguments: Any, **options: Any) -> None:
        made.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(Cluster, "__init__", noted)
    yield made
    for cluster in made:
        cluster.shutdown()


@pytest.fixture
def run(
    session: Any,
    shop: str,
    clusters: list[Cluster],
    cassandra: ConnectionOptions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[[str, Path], int]:
    """What runs the text of a page."""
    where = f"{cassandra.contact_points[0]}:{cassandra.port}"
    if not OWN_CLUSTER:
        monkeypatch.setenv("CONCURRENT_EXEC_CONTACT_POINTS", where)
    monkeypatch.setattr("prometheus_client.REGISTRY", CollectorRegistry())  # one for each page
    monkeypatch.chdir(tmp_path)
    # Other places, and less of what takes long: LocalCassandra and compare have their own tests.
    instead = {
        r"\bshop\b": shop,
        r'Cluster\(\["127.0.0.1"\]': f"Cluster({list(cassandra.contact_points)!r}, "
        f"port={cassandra.port}",
        r'ConnectionOptions\(\("127.0.0.1",\)\)': "ConnectionOptions.from_environment()",
        r"\b(old|new)\.example\b": where,
        r"\bLocalCassandra\(": "RunningCassandra(",
        r"\bconcurrent_exec.compare\(": "quick_compare(",
    }
    if not PROOF:
        instead[r"\b(10|100|1_000)_000\b"] = "1_000"

    def run_it(text: str, path: Path) -> int:
        for pattern, replacement in instead.items():
            text = re.sub(pattern, replacement, text)
        # A module, as what a sample defines may be pickled.
        here = ModuleType("__main__")
        values = f"FROM {shop}.users WHERE id = ?"
        names: dict[str, Any] = {
            **{name: getattr(concurrent_exec, name) for name in concurrent_exec.__all__},
            "concurrent_exec": concurrent_exec,
            "quick_compare": partial(concurrent_exec.compare, statements_per_go=100, rounds=1),
            "session": session,
            "insert": session.prepare(f"INSERT INTO {shop}.users (id, name) VALUES (?, ?)"),
            "select": session.prepare(f"SELECT name {values}"),
            "update": session.prepare(f"UPDATE {shop}.users SET name = ? WHERE id = ?"),
            "rows": list(ROWS),
            "keys": [(number,) for number, _ in ROWS],
            "printed": lambda: capsys.readouterr().out,
            "RunningCassandra": lambda **options: _Running(cassandra),
        }
        vars(here).update(names)
        for name in ("insert", "select", "update"):
            vars(here)[name].is_idempotent = True
        return run_page(text, path, vars(here), tmp_path)

    return run_it


class _Running:
    """What a `LocalCassandra` says of itself, of the Cassandra that runs already."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.contact_points, self.port = list(options.contact_points), options.port

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *exc: object) -> None:
        gc.collect()


@pytest.mark.cluster
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_samples_of_a_page(page: Path, run: Callable[[str, Path], int]) -> None:
    assert run(page.read_text(encoding="utf-8"), page)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("sample", "error"),
    [
        ("```python\nexecutor = CallbackExecuter(session)\n```", NameError),
        ("```python\nsession.execute('SELECT nothing FROM shop.users')\n```", Exception),
        ("<!-- invisible-code-block: python\nassert insert is None\n-->", AssertionError),
        ("```shell\nconcurrent-exec run 'SELECT' none.csv\n```", AssertionError),
        ("```python\nawait 1\n```", TypeError),
    ],
)
def test_a_sample_that_is_broken_is_noticed(
    sample: str, error: type[Exception], run: Callable[[str, Path], int]
) -> None:
    with pytest.raises(error):
        run(f"# A page\n\n{sample}\n", Path("page.md"))
