"""Fetch Cassandra's jars from Maven Central, once, into the user's cache folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
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
  <artifactId>cassandra-fetch</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
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


def cassandra_jars(
    cache: Path | None = None, report: Callable[[str], None] = lambda line: None
) -> Path:
    """Return the folder that holds Cassandra's jars, fetching them first if needed.

    `cache` is the folder for what was fetched (default: the user's cache folder); `report` is
    given a line on what is being waited for. An interrupted fetch leaves nothing that looks
    complete, and of two fetches at once the second waits and uses the first one's jars.

    Raises ClusterError if Maven is missing or fails.
    """
    cache = cache or default_cache()
    folder = cache / f"cassandra-{CASSANDRA_VERSION}"
    if _is_complete(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)

    def on_wait() -> None:
        report("waiting for another process that is fetching Cassandra")

    with locked(cache / f"{folder.name}.lock", on_wait):
        if not _is_complete(folder):
            _fetch(folder, report)
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether every jar is there in its full size (some machines clean old files out of caches)."""
    try:
        sizes: dict[str, int] = json.loads((folder / _MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _fetch(folder: Path, report: Callable[[str], None]) -> None:
    maven = find_maven()
    # The lock is held: what lies here unfinished belongs to nobody any more.
    for leftover in folder.parent.glob(f"{folder.name}.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    report(
        f"fetching Apache Cassandra {CASSANDRA_VERSION} from Maven Central (about 66 MB, only once)"
    )
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        jars = part / "jars"
        jars.mkdir()
        _run_maven(maven, part, jars)
        if not (jars / f"cassandra-all-{CASSANDRA_VERSION}.jar").is_file():
            raise ClusterError(f"{maven} succeeded, but fetched no Cassandra {CASSANDRA_VERSION}")
        sizes = {jar.name: jar.stat().st_size for jar in sorted(jars.iterdir())}
        (jars / _MANIFEST).write_text(json.dumps(sizes, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        jars.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run_maven(maven: Path, part: Path, jars: Path) -> None:
    (part / "pom.xml").write_text(_POM.format(version=CASSANDRA_VERSION))
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
            f"{maven} could not fetch Cassandra {CASSANDRA_VERSION} "
            f"(exit status {process.returncode}); it said:",
            errors[:4],
        )
