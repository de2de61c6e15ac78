"""Fetch a program's jars from Maven Central, once, into a folder: above all Cassandra's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import ClusterError
from .folders import default_cache
from .java import find_maven
from .locking import locked

CASSANDRA_VERSION = "5.0.6"

_MANIFEST = "manifest.json"

# The plugin's version is fixed so that the same command does the same everywhere.
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>concurrent-exec</groupId>
  <artifactId>fetch</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>{}</dependencies>
  <build>
    <plugins>
      <plugin>
        <groupId>org.apache.maven.plugins</groupId>
        <artifactId>maven-dependency-plugin</artifactId>
        <version>2.8</version>
      </plugin>
    </plugins>
  </build>
</project>
"""
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)


def cassandra_jars(
    cache: Path | None = None, report: Callable[[str], None] = lambda line: None
) -> Path:
    """Return the folder that holds Cassandra's jars, fetching them first if needed.

    `cache` is the folder for what was fetched (default: the user's cache folder); all else is as
    in `fetched_jars`.
    """
    folder = (cache or default_cache()) / f"cassandra-{CASSANDRA_VERSION}"
    title = f"Apache Cassandra {CASSANDRA_VERSION}"
    parts = [("org.apache.cassandra", "cassandra-all", CASSANDRA_VERSION)]
    return fetched_jars(folder, title, parts, megabytes=66, report=report)


def fetched_jars(
    folder: Path,
    title: str,
    parts: Sequence[tuple[str, str, str]],
    *,
    megabytes: int,
    report: Callable[[str], None],
) -> Path:
    """Return `folder` with the jars of `parts` and of all that they need, fetching them if needed.

    `parts` are group, artifact and version each; `title` and `megabytes` say for messages what it
    is, and how much in all; `report` is given a line on what is being waited for. An interrupted
    fetch leaves nothing that looks complete, and of two fetches at once the second waits and uses
    the first one's jars.

    Raises ClusterError if Maven is missing or fails.
    """
    if _is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)

    def on_wait() -> None:
        report(f"waiting for another process that is fetching {title}")

    with locked(folder.with_name(f"{folder.name}.lock"), on_wait):
        if not _is_complete(folder):
            maven = find_maven()
            report(f"fetching {title} from Maven Central (about {megabytes} MB, only once)")
            _fetch(maven, folder, title, parts)
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether every jar is there in its full size (some machines clean old files out of caches)."""
    try:
        sizes: dict[str, int] = json.loads((folder / _MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _fetch(maven: Path, folder: Path, title: str, parts: Sequence[tuple[str, str, str]]) -> None:
    # The lock is held: what lies here unfinished belongs to nobody any more.
    for leftover in folder.parent.glob(f"{folder.name}.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        jars = part / "jars"
        jars.mkdir()
        pom = _POM.format("".join(_DEPENDENCY.format(*each) for each in parts))
        (part / "pom.xml").write_text(pom)
        _run_maven(maven, title, part, jars)
        if not all((jars / f"{name}-{version}.jar").is_file() for _, name, version in parts):
            raise ClusterError(f"{maven} succeeded, but fetched no {title}")
        sizes = {jar.name: jar.stat().st_size for jar in sorted(jars.iterdir())}
        (jars / _MANIFEST).write_text(json.dumps(sizes, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        jars.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run_maven(maven: Path, title: str, part: Path, jars: Path) -> None:
    # A session of its own, because mvn is a script that starts java: both must end on Ctrl-C.
    with subprocess.Popen(
        [
            maven,
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={jars}",
        ],
        cwd=part,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line] or lines
        raise ClusterError(
            f"{maven} could not fetch {title} (exit status {process.returncode}); it said:",
            errors[:4],
        )
