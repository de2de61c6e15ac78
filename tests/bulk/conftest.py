"""What the tests of the command on the real Cassandra share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.cli import main
from concurrent_exec.connect import ConnectionOptions
from tests.conftest import OWN_CLUSTER
from tests.integration.support import make_table

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str],
    cassandra: ConnectionOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs `run` with these arguments in a folder of its own: exit status, stdout and stderr."""
    hosts = ",".join(f"{host}:{cassandra.port}" for host in cassandra.contact_points)
    # A cluster of the user's own is in the environment already.
    where = () if OWN_CLUSTER else ("--contact-points", hosts)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        status = main(["run", *where, *map(str, arguments)])
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        return status, told.out, told.err

    return command


@pytest.fixture(scope="module")
def table(session: Any, keyspace: str, request: pytest.FixtureRequest) -> str:
    """The name of a table (run, key, value), which is the module's own."""
    return make_table(session, keyspace, request.module.__name__)
