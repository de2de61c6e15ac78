"""A pytest plugin: a session in which a test was skipped has failed.

"All tests pass on both drivers" is worth something only if all of them ran. A skip hides well in
a green summary: a driver that is not there, a cluster that did not start, an ``importorskip``. A
test that cannot run here is a failure here; one that is not wanted for the moment is deselected
by whoever does not want it, with ``-m`` or ``-k``. Expected failures are held to be skips too.

setup.cfg loads this for every run; ``-p no:tests.no_skips`` leaves it out.
"""

from __future__ import annotations

import pytest


class _NoSkips:
    def __init__(self) -> None:
        self._found: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._found.append(f"{report.nodeid}: {_reason(report)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # An expected failure that passed is reported as passed, but carries the mark as well.
        if report.skipped or hasattr(report, "wasxfail"):
            self._found.append(f"{report.nodeid}: {_reason(report)}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # Other statuses say already that it failed, and how.
        if self._found and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._found:
            terminalreporter.section("failed: nothing may be skipped", red=True, bold=True)
            for line in self._found:
                terminalreporter.write_line(line)


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return str(report.longrepr)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_NoSkips(), "no-skips")
