"""Three nodes for the proofs that need them, and the figures of all these proofs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from concurrent_exec.cluster import LocalCassandra
from tests.conftest import PROOF
from tests.tls import Certificate


@pytest.fixture(scope="module")
def three_nodes(certificate: Certificate) -> Iterator[LocalCassandra]:
    """Three nodes that may be killed; never those of a cluster of the user's own.

    They hold 4 GB of memory, so they end with the module that needs them.
    """
    number = os.getpid()
    address = f"127.{100 + number % 100}.{number // 100 % 250}.11"  # no other run's
    with LocalCassandra(
        nodes=3, port=9442, first_address=address, settings=certificate.of_cassandra()
    ) as started:
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have recorded, for docs/proof.md."""
    if not PROOF:
        return
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if getattr(report, "when", None) == "call" and report.user_properties
    ]
    if reports:
        terminalreporter.section("figures")
    for report in reports:
        terminalreporter.write_line(report.nodeid)
        for name, value in report.user_properties:
            terminalreporter.write_line(f"    {name}: {value}")
