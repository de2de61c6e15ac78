"""Other programs that load files, fetched once: DSBulk from Maven Central, cqlsh from PyPI."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from cassandra.concurrent import execute_concurrent_with_args

from concurrent_exec.cluster.artifacts import fetched_jars
from concurrent_exec.connect import ConnectionOptions, connect

DSBULK = "1.10.0"
CQLSH = "6.2.2"
CACHE = Path(__file__).parents[1] / "build" / "perf" / "peers"
_DSBULK_PARTS = (
    "runner",
    "connectors-csv",
    "workflow-load",
    "codecs-text",
    "executor-reactor",
    "batcher-reactor",
)


def dsbulk() -> list[str]:
    """Return the beginning of DSBulk's command line."""
    parts = [("com.datastax.oss", f"dsbulk-{part}", DSBULK) for part in _DSBULK_PARTS]
    folder = CACHE / f"dsbulk-{DSBULK}"
    jars = fetched_jars(folder, f"DSBulk {DSBULK}", parts, megabytes=35, report=click.echo)
    return ["java", "-cp", f"{jars}/*", "com.datastax.oss.dsbulk.runner.DataStaxBulkLoader"]


def cqlsh() -> list[str]:
    """Return the beginning of cqlsh's command line; it has an environment of its own."""
    folder = CACHE / f"cqlsh-{CQLSH}"
    if not (folder / ".complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin" / "pip"), "install", "--quiet", f"cqlsh=={CQLSH}"]
        subprocess.run(install, check=True)
        (folder / ".complete").touch()
    return [str(folder / "bin" / "python"), str(folder / "bin" / "cqlsh")]


def helper() -> list[str]:
    """Return the beginning of the command line that feeds the drivers' helper from a csv reader."""
    return [sys.executable, "-m", "perf.loader_peers"]


@click.command()
@click.argument("statement")
@click.argument("file")
@click.option("--contact-points", required=True)
@click.option("--keyspace", required=True)
@click.option("--null", default="")
def main(statement: str, file: str, contact_points: str, keyspace: str, null: str) -> None:
    """Load FILE as many do by hand: a csv reader, a conversion for each value, the helper."""
    options = ConnectionOptions.from_environment(contact_points=contact_points)
    with connect(options, keyspace=keyspace) as session:
        prepared = session.prepare(statement)
        parameters = _parameters(Path(file), prepared, null)
        results = execute_concurrent_with_args(
            session, prepared, parameters, concurrency=100, results_generator=True
        )
        for _ in results:
            pass


def _parameters(file: Path, prepared: Any, null: str) -> Iterator[Sequence[Any]]:
    conversions = [
        _CONVERSIONS.get(column.type.typename, _text) for column in prepared.column_metadata
    ]
    with file.open(newline="", encoding="utf-8") as text:
        for record in itertools.islice(csv.reader(text), 1, None):
            yield [
                None if value == null else convert(value)
                for convert, value in zip(conversions, record, strict=True)
            ]


def _text(value: str) -> str:
    return value


_CONVERSIONS: dict[str, Callable[[str], Any]] = {"int": int, "timestamp": datetime.fromisoformat}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
