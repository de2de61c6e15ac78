"""The local Cassandra: fetched, started, stopped, restarted, and all that can go wrong.

Here java and mvn are small scripts (`Machine`), so that every failure can be had; the real ones
are run by tests/test_cli.py and tests/test_connect.py.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.cluster import (
    CASSANDRA_VERSION,
    AlreadyRunningError,
    ClusterError,
    LocalCassandra,
    NodeStatus,
    cassandra_jars,
    default_directory,
)
from concurrent_exec.cluster.config import write_config
from concurrent_exec.cluster.java import find_java
from concurrent_exec.cluster.locking import locked
from concurrent_exec.cluster.logs import failure_reason, sees_up
from concurrent_exec.cluster.memory import MIB, available_memory, parse_heap
from concurrent_exec.cluster.network import answers_cql, check_port
from concurrent_exec.cluster.processes import ProcessIdentity
from concurrent_exec.cluster.state import STATE_FILE

PORT = 19042

# Answers OPTIONS as a server does, and writes the log lines that tell of its peers. FAKE_JAVA
# says what else it may do: "fail" while starting, or stay "silent", or be "deaf" to SIGTERM.
_JAVA = """\
import json, os, re, signal, socket, sys, time
from pathlib import Path

if sys.argv[1:] == ["-version"]:
    print(os.environ.get("FAKE_JAVA_VERSION", 'openjdk version "17.0.9" 2023-10-17'),
          file=sys.stderr)
    sys.exit()
arguments = " ".join(sys.argv)
yaml = dict(
    line.split(": ", 1)
    for line in Path(re.search("cassandra.config=file://(\\\\S+)", arguments)[1])
    .read_text().splitlines()
)
logs = Path(re.search("cassandra.logdir=(\\\\S+)", arguments)[1])
data = Path(json.loads(yaml["data_file_directories"])[0])
data.mkdir(parents=True, exist_ok=True)
with (data / "starts").open("a") as file:
    file.write("started\\n")
mode = os.environ.get("FAKE_JAVA", "")
if mode == "fail":
    with (logs / "system.log").open("a") as log:
        log.write("INFO  [main] 2024-01-02 03:04:05,678 A.java:1 - all is well\\n")
        log.write("ERROR [main] 2024-01-02 03:04:05,678 B.java:2 - Fatal configuration error\\n")
        log.write("org.example.ConfigurationException: Unable to bind\\n\\tat x.Y.z(Y.java:3)\\n")
    sys.exit(3)
if mode == "console":
    print("Error occurred during initialization of VM")
    print("Could not reserve enough space for object heap")
    sys.exit(1)
if mode == "silent":
    time.sleep(600)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
address = json.loads(yaml["rpc_address"])
listener = socket.create_server((address, int(yaml["native_transport_port"])))
seed = json.loads(yaml["seed_provider"])[0]["parameters"][0]["seeds"].split(":")[0]
first = int(seed.rpartition(".")[2])
with (logs / "system.log").open("a") as log:
    for last in range(first, first + 3):
        peer = seed.rpartition(".")[0] + f".{last}"
        log.write(f"INFO  [GossipStage:1] x y G.java:1 - InetAddress /{peer}:7000 is now UP\\n")
while True:
    connection, _ = listener.accept()
    with connection:
        if connection.recv(9)[4:5] == b"\\x05":
            connection.sendall(bytes([0x84, 0, 0, 0, 6, 0, 0, 0, 0]))
"""

_MVN = """\
import os, sys, time
from pathlib import Path

with Path(__file__).with_name("mvn.runs").open("a") as file:
    file.write("run\\n")
mode = os.environ.get("FAKE_MVN", "")
[jars] = [a.partition("=")[2] for a in sys.argv if a.startswith("-DoutputDirectory=")]
if mode == "fail":
    print("[INFO] Scanning")
    print("[ERROR] Could not transfer artifact: connection refused")
    sys.exit(1)
if mode != "empty":
    Path(jars, "cassandra-all-5.0.6.jar").write_bytes(b"jar")
if mode == "slow":
    Path(__file__).with_name("mvn.waits").touch()
    time.sleep(600)
Path(jars, "jamm-0.4.0.jar").write_bytes(b"agent")
time.sleep(0.1)
"""


class Machine:
    """A machine of the test's own: what is on PATH, the user's folders, and loopback addresses."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environment = monkeypatch
        for name in list(os.environ):
            if name.startswith(("JAVA_", "JDK_", "FAKE_", "CONCURRENT_EXEC_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setenv("TMPDIR", str(folder))
        self.install("java", _JAVA)
        self.install("mvn", _MVN)
        # Addresses that no other run of these tests on this machine has.
        number = os.getpid()
        self.first_address = f"127.{100 + number % 100}.{number // 100 % 250}.1"

    def install(self, name: str, code: str, folder: Path | None = None) -> Path:
        """Put a program, Python code, into `folder`, by default one that is on PATH."""
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable} -IS\n{code}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    @property
    def fetches(self) -> int:
        """How often mvn was run."""
        runs = self.bin / "mvn.runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def cassandra(self, nodes: int = 1, **options: Any) -> LocalCassandra:
        """A cluster on this machine, not started."""
        defaults = {"port": PORT, "first_address": self.first_address, "timeout": 30}
        return LocalCassandra(nodes, **{**defaults, **options})

    def run(self, code: str, **options: Any) -> subprocess.Popen[str]:
        """Run Python code in a process of its own, with stdout as a pipe."""
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    command = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # at its very start it has no command line yet
        yield process
        process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestFetch:
    def test_once(self, machine: Machine) -> None:
        folder = cassandra_jars()
        assert folder == machine.folder / "cache" / "concurrent-exec" / "cassandra-5.0.6"
        assert (folder / f"cassandra-all-{CASSANDRA_VERSION}.jar").is_file()
        assert cassandra_jars() == folder
        assert machine.fetches == 1

    def test_is_reported(self, machine: Machine) -> None:
        lines: list[str] = []
        cassandra_jars(report=lines.append)
        assert lines == [
            "fetching Apache Cassandra 5.0.6 from Maven Central (about 66 MB, only once)"
        ]

    def test_two_at_once_fetch_once(self, machine: Machine) -> None:
        code = "from concurrent_exec.cluster import cassandra_jars; print(cassandra_jars())"
        processes = [machine.run(code) for _ in range(3)]
        folders = {process.communicate(timeout=60)[0] for process in processes}
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert folders == {f"{cassandra_jars()}\n"}
        assert machine.fetches == 1

    def test_killed_half_way_is_not_complete(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_MVN", "slow")
        process = machine.run("from concurrent_exec.cluster import cassandra_jars as f; f()")
        wait_until(lambda: (machine.bin / "mvn.waits").exists())
        cache = machine.folder / "cache" / "concurrent-exec"
        [part] = cache.glob("*.part")
        process.kill()
        process.communicate()
        for mvn in _processes_in(part):  # its own session survives a SIGKILL of the parent
            os.kill(mvn, signal.SIGKILL)
        machine.environment.delenv("FAKE_MVN")
        assert (cassandra_jars() / "jamm-0.4.0.jar").is_file()
        assert machine.fetches == 2
        assert not list(cache.glob("*.part"))

    def test_interrupted_ends_maven(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_MVN", "slow")
        process = machine.run(
            """
            from concurrent_exec.cluster import cassandra_jars
            try:
                cassandra_jars()
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
        wait_until(lambda: (machine.bin / "mvn.waits").exists())
        [part] = (machine.folder / "cache" / "concurrent-exec").glob("*.part")
        [mvn] = _processes_in(part)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
        wait_until(lambda: is_gone(mvn))
        assert not part.exists()

    def test_damaged_is_fetched_again(self, machine: Machine) -> None:
        (cassandra_jars() / "jamm-0.4.0.jar").unlink()
        assert (cassandra_jars() / "jamm-0.4.0.jar").is_file()
        assert machine.fetches == 2

    def test_failure_says_what_maven_said(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_MVN", "fail")
        with pytest.raises(ClusterError) as caught:
            cassandra_jars()
        assert "exit status 1" in caught.value.message
        assert caught.value.details == ("[ERROR] Could not transfer artifact: connection refused",)
        machine.environment.delenv("FAKE_MVN")
        cassandra_jars()

    def test_without_cassandra_among_the_jars(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_MVN", "empty")
        with pytest.raises(ClusterError, match="fetched no Apache Cassandra"):
            cassandra_jars()

    def test_maven_missing(self, machine: Machine) -> None:
        (machine.bin / "mvn").unlink()
        with pytest.raises(ClusterError, match="apt-get install maven") as caught:
            machine.cassandra().start()
        assert "\n" not in str(caught.value)

    def test_maven_is_not_needed_later(self, machine: Machine) -> None:
        cassandra_jars()
        (machine.bin / "mvn").unlink()
        with machine.cassandra() as cassandra:
            assert cassandra.is_running


class TestJava:
    def test_missing(self, machine: Machine) -> None:
        (machine.bin / "java").unlink()
        with pytest.raises(ClusterError, match="apt-get install openjdk-17-jdk-headless"):
            machine.cassandra().start()
        assert machine.fetches == 0

    @pytest.mark.parametrize(
        ("version", "major"),
        [
            ('openjdk version "1.8.0_402"', 8),
            ('openjdk version "21" 2023-09-19', 21),
            ('java version "22-ea" 2024-03-19', 22),
        ],
    )
    def test_wrong_version(self, machine: Machine, version: str, major: int) -> None:
        machine.environment.setenv("FAKE_JAVA_VERSION", version)
        with pytest.raises(ClusterError, match=rf"is Java {major}, but .* 11 or 17") as caught:
            machine.cassandra().start()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("version", "major"),
        [
            ('Picked up JAVA_TOOL_OPTIONS: -Da=b\nopenjdk version "11.0.22" 2024-01-16', 11),
            ('openjdk version "17" 2021-09-14', 17),
        ],
    )
    def test_right_version(self, machine: Machine, version: str, major: int) -> None:
        machine.environment.setenv("FAKE_JAVA_VERSION", version)
        assert find_java().major == major

    def test_that_tells_no_version(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_JAVA_VERSION", "Segmentation fault")
        with pytest.raises(ClusterError, match="does not tell a version"):
            find_java()

    def test_java_home_comes_before_path(self, machine: Machine) -> None:
        home = machine.folder / "jdk"
        path = machine.install("java", _JAVA, home / "bin")
        machine.environment.setenv("JAVA_HOME", str(home))
        assert find_java().path == path

    def test_java_home_without_java(self, machine: Machine) -> None:
        machine.environment.setenv("JAVA_HOME", str(machine.folder / "nothing"))
        with pytest.raises(ClusterError, match=r"JAVA_HOME is .*nothing.* no bin/java"):
            find_java()


class TestMemory:
    def test_too_little_is_said_before_anything_starts(self, machine: Machine) -> None:
        cassandra = machine.cassandra(3, memory_reader=lambda: 2000 * MIB)
        with pytest.raises(
            ClusterError, match=r"too little memory: 3 nodes with 768 MiB"
        ) as caught:
            cassandra.start()
        assert "about 3840 MiB, and 2000 MiB are available" in str(caught.value)
        assert machine.fetches == 0
        assert not cassandra.is_running

    def test_a_smaller_heap_fits(self, machine: Machine) -> None:
        with machine.cassandra(heap="256M", memory_reader=lambda: 800 * MIB) as cassandra:
            command = Path(f"/proc/{cassandra.nodes[0].pid}/cmdline").read_bytes().split(b"\0")
        assert b"-Xmx256M" in command

    @pytest.mark.parametrize(
        ("text", "size"), [("1G", 1024), ("768M", 768), ("2g", 2048), ("512MiB", 512)]
    )
    def test_heap(self, text: str, size: int) -> None:
        assert parse_heap(text) == size * MIB

    @pytest.mark.parametrize("text", ["", "1", "G", "100M", "1.5G", "-1G", "1T", "1G 2G"])
    def test_wrong_heap(self, text: str) -> None:
        with pytest.raises(ValueError, match=r'heap must be a size such as "768M"'):
            LocalCassandra(heap=text)

    def test_of_the_machine(self) -> None:
        assert available_memory() > 0

    def test_of_a_container(self, tmp_path: Path) -> None:
        proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        (proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4096000 kB\n")
        assert available_memory(proc, cgroup) == 4000 * MIB
        (proc / "self" / "cgroup").write_text("4:memory:/old\n0::/pod/box\n")
        (cgroup / "pod" / "box").mkdir(parents=True)
        (cgroup / "pod" / "box" / "memory.max").write_text("max\n")
        assert available_memory(proc, cgroup) == 4000 * MIB
        (cgroup / "pod" / "memory.max").write_text(f"{1000 * MIB}\n")
        (cgroup / "pod" / "memory.current").write_text(f"{800 * MIB}\n")
        (cgroup / "pod" / "memory.stat").write_text(f"anon 1\ninactive_file {300 * MIB}\n")
        assert available_memory(proc, cgroup) == 500 * MIB
        (cgroup / "pod" / "memory.stat").write_text("anon 1\n")  # nothing to reclaim
        assert available_memory(proc, cgroup) == 200 * MIB
        (cgroup / "pod" / "memory.stat").unlink()
        assert available_memory(proc, cgroup) == 200 * MIB
        (cgroup / "pod" / "memory.current").write_text(f"{1200 * MIB}\n")
        assert available_memory(proc, cgroup) == 0
        (proc / "self" / "cgroup").write_text("4:memory:/pod\n")  # not of version 2
        assert available_memory(proc, cgroup) == 4000 * MIB

    def test_a_kernel_that_does_not_tell_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
        with pytest.raises(ClusterError, match="MemAvailable"):
            available_memory(tmp_path, tmp_path)


class TestPorts:
    @pytest.mark.parametrize("port", [PORT, PORT - 2042])
    def test_in_use_is_said_before_anything_starts(self, machine: Machine, port: int) -> None:
        with (
            socket.create_server((machine.first_address, port)),
            pytest.raises(ClusterError, match=rf"port {port} on 127\..* is in use"),
        ):
            machine.cassandra().start()
        assert machine.fetches == 0

    def test_in_use_by_another_cassandra(self, machine: Machine) -> None:
        with (
            machine.cassandra(storage_port=PORT + 1),
            pytest.raises(ClusterError, match="is in use by a server that answers CQL"),
        ):
            machine.cassandra().start()

    def test_an_address_or_a_port_that_is_not_ours(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(ClusterError, match=r"can't be used: Cannot assign requested address"):
            check_port("192.0.2.1", PORT)  # of a network for documentation

        def refuse(listener: socket.socket, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", refuse)  # root may use any port
        with pytest.raises(ClusterError, match=r"port 42 on .* not allowed to this user; choose"):
            machine.cassandra(port=42).start()
        assert machine.fetches == 0

    def test_of_a_later_node(self, machine: Machine) -> None:
        second = machine.first_address.removesuffix("1") + "2"
        with (
            socket.create_server((second, PORT)),
            pytest.raises(ClusterError, match=f"port {PORT} on {second} is in use"),
        ):
            machine.cassandra(2).start()

    @pytest.mark.parametrize(
        "reply",
        [
            b"",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x84\0\0\0",
            bytes([0x84, 0, 0, 0, 0, 0, 0, 0, 9]),
        ],
    )
    def test_what_does_not_answer_cql(self, machine: Machine, reply: bytes) -> None:
        with socket.create_server((machine.first_address, PORT)) as listener:

            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(9)
                    connection.sendall(reply)

            thread = threading.Thread(target=serve)
            thread.start()
            assert not answers_cql(machine.first_address, PORT)
            thread.join()

    def test_nobody_answers_cql(self, machine: Machine) -> None:
        assert not answers_cql(machine.first_address, PORT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "nodes must be at least 1"),
        ({"first_address": "10.0.0.1"}, "must be an IPv4 loopback address"),
        ({"first_address": "0.0.0.0"}, "must be an IPv4 loopback address"),
        ({"first_address": "localhost"}, "must be an IPv4 loopback address"),
        ({"first_address": "127.255.255.254", "nodes": 3}, "with 3 of them from there on"),
        ({"port": 0}, "port must be from 1 to 65535"),
        ({"port": 65536}, "port must be from 1 to 65535"),
        ({"storage_port": 70000}, "storage_port must be from 1 to 65535"),
        ({"port": 9042, "storage_port": 9042}, "must differ"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalCassandra(**options)


class TestConfig:
    def yaml(self, folder: Path, index: int, nodes: int, **settings: object) -> dict[str, Any]:
        write_config(
            folder,
            index=index,
            addresses=[f"127.0.9.{last}" for last in range(1, nodes + 1)],
            port=9042,
            storage_port=7000,
            settings=settings,
        )
        lines = (folder / "conf" / "cassandra.yaml").read_text().splitlines()
        return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}

    def test_listens_on_loopback_only(self, tmp_path: Path) -> None:
        yaml = self.yaml(tmp_path, 1, 3)
        assert yaml["rpc_address"] == yaml["listen_address"] == "127.0.9.2"
        assert not any("broadcast" in key or "interface" in key for key in yaml)

    def test_writes_into_its_folder_only(self, tmp_path: Path) -> None:
        yaml = self.yaml(tmp_path / "a b", 0, 1)
        named = [value for key, value in yaml.items() if key.endswith("_directory")]
        assert len(named) == 4
        for path in [*named, *yaml["data_file_directories"]]:
            assert Path(path).is_relative_to(tmp_path / "a b")

    def test_settings_come_over_our_own(self, tmp_path: Path) -> None:
        yaml = self.yaml(tmp_path, 0, 1, auto_snapshot=True, concurrent_reads=4)
        assert yaml["auto_snapshot"] is True
        assert yaml["concurrent_reads"] == 4

    @pytest.mark.parametrize("nodes", [1, 2, 3, 5])
    def test_the_ring_is_even(self, tmp_path: Path, nodes: int) -> None:
        owners: dict[int, int] = {}
        for index in range(nodes):
            yaml = self.yaml(tmp_path / str(index), index, nodes)
            tokens = [int(token) for token in yaml["initial_token"].split(",")]
            assert len(tokens) == yaml["num_tokens"]
            owners.update(dict.fromkeys(tokens, index))
        ring = sorted(owners)
        assert len(ring) == nodes * yaml["num_tokens"]
        assert ring[0] >= -(2**63)
        assert ring[-1] < 2**63
        assert {b - a - 2**64 // len(ring) for a, b in itertools.pairwise(ring)} <= {0, 1}
        # Neighbours on the ring belong to different nodes, so that replicas are spread evenly.
        assert [owners[token] for token in ring] == [at % nodes for at in range(len(ring))]


class TestLogs:
    def test_reason_is_the_first_errors(self, tmp_path: Path) -> None:
        log = tmp_path / "system.log"
        log.write_text(
            "ERROR [main] 2024-01-02 03:04:05,678 A.java:1 - an earlier start\n"
            "INFO  [main] 2024-01-02 03:04:05,678 A.java:1 - fine\n"
        )
        before = log.stat().st_size
        with log.open("a") as file:
            file.write(
                "WARN  [main] 2024-01-02 03:04:05,678 A.java:1 - hm\n"
                "ERROR [main] 2024-01-02 03:04:05,678 A.java:1 - Exception during startup\n"
                "java.lang.RuntimeException: no space\n"
                "\tat a.B.c(B.java:1)\n"
                "Caused by: java.io.IOException: disk full\n"
                "\t... 7 common frames omitted\n"
                "INFO  [main] 2024-01-02 03:04:05,678 A.java:1 - bye\n"
            )
        assert failure_reason(log, tmp_path / "none", before) == [
            "Exception during startup",
            "java.lang.RuntimeException: no space",
            "Caused by: java.io.IOException: disk full",
        ]

    def test_no_logs(self, tmp_path: Path) -> None:
        assert failure_reason(tmp_path / "none", tmp_path / "none") == []

    def test_the_last_word_on_a_peer_counts(self, tmp_path: Path) -> None:
        log = tmp_path / "system.log"
        record = (
            "INFO  [GossipStage:1] x y Gossiper.java:1 - InetAddress /127.0.0.2:7000 is now {}\n"
        )
        assert not sees_up(log, "127.0.0.2")
        log.write_text(record.format("UP"))
        assert sees_up(log, "127.0.0.2")
        assert not sees_up(log, "127.0.0.1")
        with log.open("a") as file:
            file.write(record.format("DOWN"))
        assert not sees_up(log, "127.0.0.2")


class TestProcesses:
    def test_another_start_time_is_another_process(
        self, bystander: subprocess.Popen[bytes]
    ) -> None:
        real = ProcessIdentity.of(bystander.pid, "-c")
        assert real.is_alive
        other = ProcessIdentity(real.pid, real.started - 1, "-c")
        assert not other.is_alive
        assert not other.send(signal.SIGKILL)
        assert other.wait(0)
        assert bystander.poll() is None

    def test_another_command_line_is_another_process(
        self, bystander: subprocess.Popen[bytes]
    ) -> None:
        other = ProcessIdentity.of(bystander.pid, "-Dconcurrent_exec.node=/x")
        assert not other.is_alive
        assert not other.send(signal.SIGKILL)
        assert bystander.poll() is None

    def test_gone(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            identity = ProcessIdentity.of(process.pid, "-c")
            assert not identity.wait(0)
            assert identity.send(signal.SIGKILL)
            assert identity.wait(60)
            assert not identity.is_alive  # a zombie until the block ends
        assert not identity.is_alive
        assert not identity.send(signal.SIGKILL)


class TestLock:
    def test_a_file_removed_by_its_holder(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        inside = threading.Event()
        waits = threading.Event()

        def second() -> None:
            with locked(path, waits.set):
                assert path.exists()
                inside.set()

        with locked(path):
            thread = threading.Thread(target=second)
            thread.start()
            assert waits.wait(60)
            assert not inside.is_set()
            path.unlink()
        thread.join(60)
        assert inside.is_set()

    def test_nobody_is_told_where_nobody_asks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = threading.Event()
        flock = fcntl.flock
        order: list[str] = []

        def noting(descriptor: int, how: int) -> None:
            if how == fcntl.LOCK_EX:
                waits.set()
            flock(descriptor, how)

        def second() -> None:
            with locked(tmp_path / "lock"):
                order.append("second")

        monkeypatch.setattr(fcntl, "flock", noting)
        with locked(tmp_path / "lock"):
            thread = threading.Thread(target=second)
            thread.start()
            assert waits.wait(60)
            order.append("first")
        thread.join(60)
        assert order == ["first", "second"]


class TestLife:
    def test_before_its_start(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        cassandra = machine.cassandra()
        assert repr(cassandra) == f"<LocalCassandra {machine.first_address} port {PORT}>"
        cassandra.stop()
        with pytest.raises(ClusterError, match="has not been started"):
            cassandra.directory  # noqa: B018
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(ClusterError, match="on Linux only"):
            cassandra.start()

    def test_in_a_temporary_folder(self, machine: Machine) -> None:
        with machine.cassandra() as cassandra:
            [node] = cassandra.nodes
            assert cassandra.contact_points == [machine.first_address]
            assert cassandra.port == PORT
            assert node.status is NodeStatus.RUNNING
            assert answers_cql(machine.first_address, PORT)
            folder, pid = cassandra.directory, node.pid
            assert pid is not None
        assert not folder.exists()
        assert is_gone(pid)
        assert not cassandra.is_running

    def test_again_after_its_end(self, machine: Machine) -> None:
        cassandra = machine.cassandra()
        for _ in range(2):
            with cassandra:
                assert cassandra.is_running

    def test_three_nodes(self, machine: Machine) -> None:
        with machine.cassandra(3) as cassandra:
            prefix = machine.first_address.removesuffix("1")
            assert cassandra.contact_points == [f"{prefix}{last}" for last in (1, 2, 3)]
            assert {node.status for node in cassandra.nodes} == {NodeStatus.RUNNING}
            assert len({node.pid for node in cassandra.nodes}) == 3

    @pytest.mark.parametrize("how", ["kill", "stop"])
    def test_a_node_ends_and_starts_again_with_its_data(self, machine: Machine, how: str) -> None:
        with machine.cassandra(2) as cassandra:
            second = cassandra.nodes[1]
            pid = second.pid
            assert pid is not None
            getattr(second, how)()
            assert is_gone(pid)
            assert not second.is_running
            assert second.pid is None
            statuses = [node.status for node in cassandra.nodes]
            assert statuses == [NodeStatus.RUNNING, NodeStatus.STOPPED]
            getattr(second, how)()  # does nothing
            second.start()
            assert second.status is NodeStatus.RUNNING
            assert second.pid != pid
            second.start()  # does nothing
            assert _starts(second.folder) == 2

    def test_a_node_that_dies_by_itself_is_seen(self, machine: Machine) -> None:
        with machine.cassandra() as cassandra:
            [node] = cassandra.nodes
            assert node.pid is not None
            os.kill(node.pid, signal.SIGKILL)
            wait_until(lambda: not node.is_running)
            node.start()
            assert node.is_running

    def test_a_node_deaf_to_sigterm_is_killed(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("concurrent_exec.cluster.node._STOP_SECONDS", 0.2)
        machine.environment.setenv("FAKE_JAVA", "deaf")
        with machine.cassandra() as cassandra:
            pid = cassandra.nodes[0].pid
            assert pid is not None
            cassandra.nodes[0].stop()
            assert is_gone(pid)

    def test_dies_with_its_parent(self, machine: Machine) -> None:
        process = machine.run(
            f"""
            from concurrent_exec.cluster import LocalCassandra
            import time
            with LocalCassandra(2, port={PORT}, first_address="{machine.first_address}") as c:
                print(c.directory, *(node.pid for node in c.nodes), flush=True)
                time.sleep(600)
            """
        )
        assert process.stdout is not None
        folder, *pids = process.stdout.readline().split()
        assert len(pids) == 2
        process.kill()
        process.communicate()
        for pid in pids:
            wait_until(lambda pid=pid: is_gone(int(pid)))  # type: ignore[misc]
        wait_until(lambda: not Path(folder).exists())

    def test_thread_that_started_it_may_end(self, machine: Machine) -> None:
        cassandra = machine.cassandra()
        thread = threading.Thread(target=cassandra.start)
        thread.start()
        thread.join()
        try:
            assert cassandra.nodes[0].status is NodeStatus.RUNNING
        finally:
            cassandra.stop()


class TestFailure:
    @pytest.mark.parametrize(
        ("mode", "reason"),
        [
            (
                "fail",
                [
                    "(exit status 3)",
                    "Fatal configuration error",
                    "org.example.ConfigurationException: Unable to bind",
                ],
            ),
            ("console", ["(exit status 1)", "Could not reserve enough space for object heap"]),
        ],
    )
    def test_says_the_reason(self, machine: Machine, mode: str, reason: list[str]) -> None:
        machine.environment.setenv("FAKE_JAVA", mode)
        cassandra = machine.cassandra()
        with pytest.raises(ClusterError) as caught:
            cassandra.start()
        for part in reason:
            assert part in str(caught.value)
        assert "all is well" not in str(caught.value)
        assert "Y.java" not in str(caught.value)
        assert not cassandra.directory.exists()

    def test_keeps_the_logs_in_a_folder_that_was_named(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_JAVA", "fail")
        folder = machine.folder / "mine"
        with pytest.raises(ClusterError, match=f"logs are in {folder}/node"):
            machine.cassandra(directory=folder).start()
        assert (folder / "node1" / "logs" / "system.log").is_file()
        machine.environment.delenv("FAKE_JAVA")
        with machine.cassandra(directory=folder) as cassandra:
            assert _starts(cassandra.nodes[0].folder) == 1  # not with the data of the failure

    def test_of_one_node_ends_all(self, machine: Machine) -> None:
        code = _JAVA.replace(
            'mode = os.environ.get("FAKE_JAVA", "")',
            'mode = "fail" if "node2" in arguments else ""',
        )
        machine.install("java", code)
        cassandra = machine.cassandra(2)
        with pytest.raises(ClusterError, match="Fatal configuration error"):
            cassandra.start()
        assert not cassandra.is_running
        assert not answers_cql(machine.first_address, PORT)

    def test_never_answers(self, machine: Machine) -> None:
        machine.environment.setenv("FAKE_JAVA", "silent")
        cassandra = machine.cassandra(timeout=0.3)
        with pytest.raises(ClusterError, match=r"did not answer within 0\.3 seconds"):
            cassandra.start()
        assert not cassandra.is_running

    def test_killed_from_outside(self, machine: Machine) -> None:
        machine.install(
            "java", _JAVA.replace('if mode == "silent":', "os.kill(os.getpid(), 9)\nif 0:")
        )
        with pytest.raises(ClusterError, match="killed; the kernel does that when memory runs out"):
            machine.cassandra().start()


class TestFolder:
    def test_defaults(self, machine: Machine) -> None:
        assert default_directory() == machine.folder / "state" / "concurrent-exec" / "cassandra"
        machine.environment.setenv("XDG_STATE_HOME", "not/absolute")
        assert default_directory() == Path.home() / ".local/state/concurrent-exec/cassandra"

    def test_somebody_elses_is_refused(self, machine: Machine) -> None:
        precious = machine.folder / "home" / "precious"
        precious.parent.mkdir()
        precious.write_text("mine")
        with pytest.raises(ClusterError, match="not empty and not a cluster's"):
            machine.cassandra(directory=precious.parent).start()
        assert os.listdir(precious.parent) == ["precious"]

    def test_what_others_put_in_stays(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        with machine.cassandra(directory=folder):
            (folder / "notes").write_text("precious")
        assert os.listdir(folder) == ["notes"]

    def test_a_start_that_can_not_be_made_leaves_none(self, machine: Machine) -> None:
        (machine.bin / "java").unlink()
        folder = machine.folder / "a" / "b"
        with pytest.raises(ClusterError):
            machine.cassandra(directory=folder).start()
        assert not folder.exists()

    def test_kept_data_goes_on(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        cassandra = machine.cassandra(directory=folder)
        cassandra.start()
        cassandra.stop(keep_data=True)
        assert not cassandra.is_running
        with machine.cassandra(directory=folder) as again:
            assert _starts(again.nodes[0].folder) == 2

    def test_kept_data_of_another_shape_is_refused(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        cassandra = machine.cassandra(directory=folder)
        cassandra.start()
        cassandra.stop(keep_data=True)
        with pytest.raises(ClusterError, match="keeps the data of another cluster"):
            machine.cassandra(2, directory=folder).start()
        assert _starts(folder / "node1") == 1

    def test_a_failed_start_with_kept_data_keeps_it(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        cassandra = machine.cassandra(directory=folder)
        cassandra.start()
        cassandra.stop(keep_data=True)
        machine.environment.setenv("FAKE_JAVA", "fail")
        with pytest.raises(ClusterError, match="Unable to bind"):
            machine.cassandra(directory=folder).start()
        machine.environment.delenv("FAKE_JAVA")
        with machine.cassandra(directory=folder) as again:
            assert _starts(again.nodes[0].folder) == 3

    def test_running_is_found(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        assert LocalCassandra.find(folder) is None
        with machine.cassandra(2, directory=folder) as cassandra:
            with pytest.raises(AlreadyRunningError, match="already running"):
                machine.cassandra(2, directory=folder).start()
            found = LocalCassandra.find(folder)
            assert found is not None
            assert found.contact_points == cassandra.contact_points
            assert found.port == PORT
            assert [node.pid for node in found.nodes] == [node.pid for node in cassandra.nodes]
            found.stop()
            assert not cassandra.is_running
            assert not folder.exists()
        assert not folder.exists()

    def test_state_of_somebody_else(self, machine: Machine) -> None:
        folder = machine.folder / "mine"
        folder.mkdir()
        (folder / STATE_FILE).write_text('{"format": 99}')
        with pytest.raises(ClusterError, match="not a cluster's state that this version reads"):
            LocalCassandra.find(folder)
        with pytest.raises(ClusterError, match="not a cluster's state"):
            machine.cassandra(directory=folder).start()
        assert STATE_FILE in os.listdir(folder)

    def test_a_pid_that_now_is_another_process_is_left_alone(
        self, machine: Machine, bystander: subprocess.Popen[bytes]
    ) -> None:
        folder = machine.folder / "mine"
        cassandra = machine.cassandra(directory=folder)
        cassandra.start()
        cassandra.stop(keep_data=True)
        state = json.loads((folder / STATE_FILE).read_text())
        started = ProcessIdentity.of(bystander.pid, "").started
        marker = f"-Dconcurrent_exec.node={folder}/node1"
        state["processes"] = [{"pid": bystander.pid, "started": started, "marker": marker}]
        (folder / STATE_FILE).write_text(json.dumps(state))
        found = LocalCassandra.find(folder)
        assert found is not None
        assert not found.is_running
        found.stop()
        assert bystander.poll() is None
        assert not folder.exists()

    def test_the_cache_has_a_colon(self, machine: Machine) -> None:
        with pytest.raises(ClusterError, match="must not have a colon"):
            machine.cassandra(cache=machine.folder / "a:b").start()

    def test_names_with_signs(self, machine: Machine) -> None:
        # The fake reads its folder from the command line by blanks; the JVM does not.
        folder = machine.folder / "über%20all"
        machine.install(
            "java",
            _JAVA.replace(".read_text()", ".read_text()").replace(
                'Path(re.search("cassandra.config=file://(\\\\S+)", arguments)[1])',
                'Path(re.search("logback.configurationFile=(\\\\S+)", arguments)[1])'
                '.with_name("cassandra.yaml")',
            ),
        )
        with machine.cassandra(directory=folder) as cassandra:
            assert cassandra.is_running
            assert re.search(r"%C3%BCber%2520all", _command_line(cassandra))


def _command_line(cassandra: LocalCassandra) -> str:
    return Path(f"/proc/{cassandra.nodes[0].pid}/cmdline").read_text()


def _starts(node_folder: Path) -> int:
    return len((node_folder / "data" / "data" / "starts").read_text().splitlines())


def _processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == folder:
                found.append(int(entry.name))
        except OSError:
            pass
    return found
