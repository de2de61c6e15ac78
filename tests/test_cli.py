"""The command line, in a process of its own: what it prints, where, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from cassandra import InvalidRequest, UnresolvableContactPoints
from cassandra.cluster import NoHostAvailable
from click.testing import CliRunner

from concurrent_exec import cli
from concurrent_exec.cli.errors import in_words
from concurrent_exec.cli.group import SuggestingGroup
from concurrent_exec.cli.options import connection_options
from concurrent_exec.cluster import AlreadyRunningError, LocalCassandra
from concurrent_exec.cluster.network import answers_cql
from concurrent_exec.connect import ConnectionOptions
from tests.test_cluster import PORT, Machine, is_gone, wait_until


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def popen(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "concurrent_exec.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> tuple[int, str, str]:
    """Return exit status, stdout and stderr of a command that must never show a traceback."""
    with popen(*arguments) as process:
        out, err = process.communicate(timeout=110)
    assert "Traceback" not in err
    return process.returncode, out, err


class TestRoot:
    def test_version(self) -> None:
        status, out, err = run("--version")
        assert (status, err) == (0, "")
        assert out.startswith("concurrent-exec, version ")

    @pytest.mark.parametrize(
        ("arguments", "example"),
        [
            (["--help"], "concurrent-exec cassandra start --nodes 3"),
            (["-h"], "concurrent-exec cassandra stop"),
            (["cassandra", "--help"], "concurrent-exec cassandra stop --keep-data"),
        ],
    )
    def test_help_has_examples(self, arguments: list[str], example: str) -> None:
        status, out, _ = run(*arguments)
        assert status == 0
        assert example in out

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [(["casandra"], "'cassandra'"), (["cassandra", "stat"], "'start'")],
    )
    def test_mistyped_command(self, arguments: list[str], meant: str) -> None:
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert "Did you mean" in err
        assert meant in err

    def test_an_old_click_suggests_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def old(group: object, ctx: click.Context, args: list[str]) -> None:
            raise click.UsageError(f"No such command {args[0]!r}.", ctx)

        monkeypatch.setattr(click.Group, "resolve_command", old)
        group = SuggestingGroup(commands={"start": click.Command("start")})
        assert "'strat'. Did you mean 'start'?" in CliRunner().invoke(group, ["strat"]).output
        assert "Did you mean" not in CliRunner().invoke(group, ["quite-else"]).output

    def test_without_click(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in list(sys.modules):
            if name == "click" or name.startswith(("click.", "concurrent_exec.cli.")):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "click", None)
        assert cli.main([]) == 1
        assert capsys.readouterr().err == (
            "concurrent-exec: error: the command line needs one package more: "
            "pip install 'concurrent-exec[cli]'\n"
        )

    def test_another_package_that_is_missing_is_no_matter_of_the_command_line(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in list(sys.modules):
            if name.startswith("concurrent_exec.cli."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "cassandra", None)
        with pytest.raises(ModuleNotFoundError, match="cassandra"):
            cli.main([])


class TestCassandra:
    """With small scripts for java and mvn, see test_cluster."""

    def start(self, machine: Machine, *more: str) -> tuple[int, str, str]:
        address = ("--first-address", machine.first_address)
        return run("cassandra", "start", "--port", str(PORT), *address, *more)

    def test_start_start_status_stop(self, machine: Machine) -> None:
        address = machine.first_address
        points = f"{address}:{PORT},{address[:-1]}2:{PORT}\n"
        folder = machine.folder / "state" / "concurrent-exec" / "cassandra"
        assert run("cassandra", "status") == (3, f"not running (nothing in {folder})\n", "")
        try:
            status, out, err = self.start(machine, "--nodes", "2")
            assert (status, out) == (0, points)
            assert "fetching Apache Cassandra" in err
            again = run("cassandra", "start")
            assert again == (0, points, f"Cassandra is already running in {folder}\n")
            status, out, _ = run("cassandra", "status")
            assert status == 0
            assert out.count("  running  process ") == 2
            pids = [int(line.split()[-1]) for line in out.splitlines() if "process" in line]
        finally:
            stopped = run("cassandra", "stop")
        assert stopped == (0, "", f"stopped 2 of 2 node(s), removed {folder}\n")
        assert all(is_gone(pid) for pid in pids)
        assert not folder.exists()
        assert run("cassandra", "stop") == (0, "", f"nothing to stop in {folder}\n")

    def test_another_shape_than_the_running_one(self, machine: Machine) -> None:
        try:
            assert self.start(machine)[0] == 0
            status, out, err = self.start(machine, "--nodes", "2")
            assert (status, out) == (1, "")
            assert err.startswith("concurrent-exec: error: another Cassandra is already running")
        finally:
            run("cassandra", "stop")

    def test_start_mends_a_cluster_that_lost_a_node(self, machine: Machine) -> None:
        try:
            assert self.start(machine, "--nodes", "2")[0] == 0
            _, out, _ = run("cassandra", "status")
            os.kill(int(out.splitlines()[1].split()[-1]), signal.SIGKILL)
            wait_until(lambda: not answers_cql(machine.first_address[:-1] + "2", PORT))
            status, out, _ = run("cassandra", "status")
            assert status == 3
            assert f"{machine.first_address[:-1]}2:{PORT}  stopped\n" in out
            status, _, err = run("cassandra", "start")
            assert status == 0
            assert f"starting Cassandra on {machine.first_address[:-1]}2:{PORT} again" in err
            assert run("cassandra", "status")[0] == 0
        finally:
            run("cassandra", "stop")

    def test_what_is_stopped_while_it_is_started_again(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def running(wanted: LocalCassandra) -> None:
            raise AlreadyRunningError("it runs")

        monkeypatch.setattr(LocalCassandra, "start", running)
        assert cli.main(["cassandra", "start"]) == 1
        assert "was just stopped; try again" in capsys.readouterr().err

    def test_under_nohup_it_starts_without_its_terminal(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handlers: list[Any] = []

        def start(wanted: LocalCassandra) -> None:
            handlers.extend(map(signal.getsignal, (signal.SIGHUP, signal.SIGTERM)))

        monkeypatch.setattr(LocalCassandra, "start", start)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert cli.main(["cassandra", "start"]) == 0
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)
        assert handlers[0] is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            handlers[1](signal.SIGTERM, None)

    def test_kept_data(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        option = ("--directory", str(folder))
        try:
            assert self.start(machine, "--heap", "300M", *option)[0] == 0
            status, _, err = run("cassandra", "stop", "--keep-data", *option)
            assert (status, err) == (0, f"stopped 1 of 1 node(s), kept its data in {folder}\n")
            status, out, _ = run("cassandra", "start", *option)
            assert (status, out) == (0, f"{machine.first_address}:{PORT}\n")
            found = LocalCassandra.find(folder)
            assert found is not None
            assert found.state.heap == 300 << 20
        finally:
            run("cassandra", "stop", *option)
        assert not folder.exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_interrupted_start_leaves_nothing(
        self, machine: Machine, number: signal.Signals
    ) -> None:
        machine.environment.setenv("FAKE_JAVA", "silent")
        folder = machine.folder / "state" / "concurrent-exec" / "cassandra"
        address = ("--first-address", machine.first_address)
        with popen("cassandra", "start", "--port", str(PORT), *address) as process:
            wait_until((folder / "node1" / "data" / "data" / "starts").exists)
            found = LocalCassandra.find(folder)
            assert found is not None
            pid = found.nodes[0].pid
            assert pid is not None
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert out == ""
        assert err.endswith("concurrent-exec: interrupted\n")
        assert is_gone(pid)
        assert not folder.exists()

    def test_a_killed_start_leaves_no_process(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_JAVA", "silent")
        folder = machine.folder / "state" / "concurrent-exec" / "cassandra"
        address = ("--first-address", machine.first_address)
        with popen("cassandra", "start", "--port", str(PORT), *address) as process:
            wait_until((folder / "node1" / "data" / "data" / "starts").exists)
            found = LocalCassandra.find(folder)
            assert found is not None
            process.kill()
            process.communicate()
        wait_until(lambda: not found.is_running)
        machine.environment.delenv("FAKE_JAVA")
        try:
            assert self.start(machine)[0] == 0
        finally:
            run("cassandra", "stop")

    def test_failing_node(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_JAVA", "fail")
        status, out, err = self.start(machine)
        assert (status, out) == (1, "")
        assert "concurrent-exec: error: Cassandra on " in err
        assert "\n  org.example.ConfigurationException: Unable to bind\n" in err

    @pytest.mark.parametrize(
        ("program", "package"), [("java", "openjdk-17-jdk-headless"), ("mvn", "maven")]
    )
    def test_missing_program(self, machine: Machine, program: str, package: str) -> None:
        (machine.bin / program).unlink()
        status, out, err = self.start(machine)
        assert (status, out) == (1, "")
        [line] = err.splitlines()
        assert line.startswith("concurrent-exec: error: no ")
        assert f"apt-get install {package}" in line

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--nodes", "0"], "0 is not in the range x>=1"),
            (["--port", "70000"], "70000 is not in the range 1<=x<=65535"),
            (["--heap", "much"], "heap must be a size such as"),
            (["--first-address", "192.0.2.1"], "must be an IPv4 loopback address"),
        ],
    )
    def test_wrong_usage(self, machine: Machine, arguments: list[str], message: str) -> None:
        status, out, err = run("cassandra", "start", *arguments)
        assert (status, out) == (2, "")
        assert message in err

    def test_folder_that_can_not_be_made(self, machine: Machine) -> None:
        (machine.folder / "file").write_text("")
        status, out, err = self.start(machine, "--directory", str(machine.folder / "file" / "x"))
        assert (status, out) == (1, "")
        assert err.startswith("concurrent-exec: error: ")


class TestConnectionOptions:
    """The decorator that gives commands their connection."""

    def connection(
        self, monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str
    ) -> ConnectionOptions:
        for name in list(os.environ):
            if name.startswith("CONCURRENT_EXEC_"):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        got: list[ConnectionOptions] = []

        @click.command()
        @click.option("--other")
        @connection_options
        def command(connection: ConnectionOptions, other: str | None) -> None:
            got.append(connection)

        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return got[0]

    def test_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.connection(monkeypatch, "--other", "x") == ConnectionOptions()

    def test_arguments_come_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("s3cret\n")
        connection = self.connection(
            monkeypatch,
            *("--contact-points", "[::1]:9142"),
            *("--local-dc", "east", "--username", "me", "--password-file", str(secret)),
            *("--no-tls-check-hostname", "--tls"),
            CONCURRENT_EXEC_CONTACT_POINTS="elsewhere",
            CONCURRENT_EXEC_PASSWORD="other",
            CONCURRENT_EXEC_TLS="0",
        )
        assert connection == ConnectionOptions(
            contact_points=("::1",),
            port=9142,
            local_dc="east",
            username="me",
            password="s3cret",
            tls=True,
            tls_check_hostname=False,
        )

    def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = self.connection(monkeypatch, CONCURRENT_EXEC_CONTACT_POINTS="a,b")
        assert connection.contact_points == ("a", "b")

    def test_help_lists_them_in_order(self) -> None:
        command = click.command()(connection_options(lambda connection: None))
        out = CliRunner().invoke(command, ["--help"]).output
        assert out.index("--contact-points") < out.index("--tls-ca") < out.index("--config")
        assert "--password " not in out


@pytest.mark.cluster
def test_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing: start, start again, status, stop."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    number = os.getpid()
    address = f"127.{100 + number % 100}.{number // 100 % 250}.1"
    start = ("cassandra", "start", "--first-address", address, "--port", "9142")
    try:
        status, out, err = run(*start, "--heap", "512M")
        assert (status, out) == (0, f"{address}:9142\n"), err
        assert run(*start)[:2] == (0, f"{address}:9142\n")
        status, out, _ = run("cassandra", "status")
        assert status == 0
        assert f"{address}:9142  running" in out
        assert answers_cql(address, 9142)
    finally:
        assert run("cassandra", "stop")[0] == 0
    assert not answers_cql(address, 9142)
    assert run("cassandra", "status")[0] == 3
    assert list(tmp_path.rglob("*")) == [tmp_path / "concurrent-exec"]


# --- what went wrong, in words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NoHostAvailable("none", {"127.0.0.1:9042": OSError("refused")}), "--contact-points"),
        (NoHostAvailable("none", {"127.0.0.1:9042": OSError("refused")}), "cassandra start"),
        (InvalidRequest("No keyspace has been specified. USE a keyspace"), "--keyspace"),
        (UnresolvableContactPoints({}), "none of the contact points' names is known"),
    ],
)
def test_an_error_says_what_to_do(error: Exception, hint: str) -> None:
    assert hint in in_words(error)
