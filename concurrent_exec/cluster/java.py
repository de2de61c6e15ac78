"""Find a JDK that Cassandra runs on, and Maven."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

SUPPORTED_JAVA = (11, 17)
INSTALL_JDK = "apt-get install openjdk-17-jdk-headless"
INSTALL_MAVEN = "apt-get install maven"

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class Java:
    """The program `java` to run and its major version."""

    path: Path
    major: int


def find_java() -> Java:
    """Return the java of JAVA_HOME if that is set, else the first on PATH.

    Raises ClusterError if there is none, or if Cassandra does not support its version.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        path = Path(home, "bin", "java")
        if not os.access(path, os.X_OK):
            raise ClusterError(
                f"JAVA_HOME is {home}, which has no bin/java; correct or unset it, "
                f"or install a JDK: {INSTALL_JDK}"
            )
    else:
        found = shutil.which("java")
        if found is None:
            raise ClusterError(f"no JDK found (java); install one: {INSTALL_JDK}")
        path = Path(found)
    major = _major_version(path)
    if major not in SUPPORTED_JAVA:
        raise ClusterError(
            f"{path} is Java {major}, but Cassandra 5.0 runs on Java 11 or 17; install one "
            f"({INSTALL_JDK}) and set JAVA_HOME to it"
        )
    return Java(path, major)


def find_maven() -> Path:
    """Return the program `mvn` on PATH; raises ClusterError if there is none."""
    found = shutil.which("mvn")
    if found is None:
        raise ClusterError(
            f"no Maven found (mvn), which fetches Cassandra the first time; "
            f"install it: {INSTALL_MAVEN}"
        )
    return Path(found)


def _major_version(path: Path) -> int:
    try:
        answer = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"{path} -version does not run: {error}") from error
    match = _VERSION.search(answer.stdout)
    if match is None:
        raise ClusterError(
            f"{path} -version (exit status {answer.returncode}) does not tell a version",
            answer.stdout.splitlines()[:3],
        )
    return int(match[1])
