"""A process that has used a session ends with its last line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from concurrent_exec.connect import ConnectionOptions
from tests.surviving.support import environment_for

pytestmark = pytest.mark.cluster

SCRIPT = """\
import logging

from concurrent_exec.connect import connect

logging.basicConfig()
with connect() as session:
    for _ in range(3):
        session.execute("SELECT key FROM system.local")
"""


def test_the_reactor_ends_with_the_interpreter(cassandra: ConnectionOptions) -> None:
    """scylla-driver waits five seconds for it in three of four processes, and then says so."""
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=Path(__file__).parents[2],
            env=environment_for(cassandra),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "could not be joined" not in done.stderr
