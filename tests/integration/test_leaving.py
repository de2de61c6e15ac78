"""A process that has used a session ends with its last line."""

from __future__ import annotations

import pytest

from concurrent_exec.connect import ConnectionOptions
from tests.integration.support import ended

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
        assert "could not be joined" not in ended(cassandra, "-c", SCRIPT).stderr
