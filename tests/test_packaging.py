"""What the distribution promises, and the house's one rule on imports."""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import concurrent_exec
from tests.imports import FRONT, ROOMS, imported

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "concurrent_exec"
COMMAND = "concurrent_exec_command.py"

# For users' tests and for ours: product code that needs it has its parts in the wrong room.
NOT_FOR_US = "testing"


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run it in an interpreter of its own, because imports leave traces in this one."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


# --- importing it ---------------------------------------------------------------------------


WITHOUT_A_DRIVER = """
import sys

class NoDriver:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cassandra":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoDriver())
"""


def test_without_a_driver_the_error_names_both_extras() -> None:
    done = python(
        WITHOUT_A_DRIVER
        + """
try:
    import concurrent_exec
except ImportError as error:
    print(error)
else:
    sys.exit("imported without a driver")
"""
    )
    assert done.returncode == 0, done.stderr
    assert "concurrent-exec[cassandra]" in done.stdout
    assert "concurrent-exec[scylla]" in done.stdout


def test_the_core_imports_only_the_standard_library_and_the_driver() -> None:
    done = python(
        """
import sys
import cassandra.cluster

before = set(sys.modules)
import concurrent_exec

tops = {name.partition(".")[0] for name in set(sys.modules) - before}
ours = {"concurrent_exec", "cassandra", *sys.stdlib_module_names}
print(*sorted(tops - ours))
later = {"concurrent.futures.process", "multiprocessing.context", "distributed"}
print(*sorted(later & (set(sys.modules) - before)))
extras = {"click", "dask", "matplotlib", "rich", "tqdm", "hdrh", "prometheus_client",
          "opentelemetry", "pytest", "hypothesis"}
print(*sorted(extras & set(sys.modules)))
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# --- what is installed ----------------------------------------------------------------------


def test_the_metadata_is_that_of_setup_cfg() -> None:
    # A stale install would make the tests below speak of something else.
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert metadata.version("concurrent-exec") == config["metadata"]["version"]
    assert concurrent_exec.__version__ == config["metadata"]["version"]


def test_nothing_is_required_without_an_extra() -> None:
    requirements = metadata.requires("concurrent-exec")
    assert requirements
    assert [line for line in requirements if "extra ==" not in line] == []


def test_each_driver_is_an_extra_and_one_is_here() -> None:
    extras = metadata.metadata("concurrent-exec").get_all("Provides-Extra")
    assert extras is not None
    assert {"cassandra", "scylla"} <= set(extras)
    installed = {dist.metadata["Name"].lower() for dist in metadata.distributions()}
    # Two of them overwrite each other's files: then nobody knows what was tested.
    assert len({"cassandra-driver", "scylla-driver"} & installed) == 1


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="concurrent-exec")
    assert command.value == "concurrent_exec_command:main"
    assert callable(command.load())


def test_the_command_says_without_a_driver_what_to_install() -> None:
    done = python(WITHOUT_A_DRIVER + "from concurrent_exec_command import main\nsys.exit(main())")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("concurrent-exec: error: ")
    assert "concurrent-exec[cassandra]" in line
    assert "concurrent-exec[scylla]" in line


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    # Of a copy: a build leaves its traces in the folder, and takes old ones along.
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("setup.cfg", "setup.py", "MANIFEST.in", "LICENSE", "README.md", COMMAND):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(
        PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--use-pep517"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), "."]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        license_texts = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    there = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "concurrent_exec/py.typed" in held
    assert held == there | {COMMAND}
    assert license_texts


# --- imports point one way ------------------------------------------------------------------


def offered_by_front(package: Path) -> dict[str, str]:
    """The room that each name of the package's front comes from."""
    front = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    offered: dict[str, str] = {}
    for node in ast.walk(front):
        if isinstance(node, ast.ImportFrom):
            for _, module, name in imported(ast.Module([node], []), (package.name,)):
                if module[0] == package.name and len(module) > 1:
                    alias = next(each for each in node.names if each.name == name)
                    offered[alias.asname or name] = module[1]
    return offered


def import_faults(package: Path) -> list[str]:
    """Every import within the package that breaks the rule, as "path:line: what"."""
    offered = offered_by_front(package)
    faults: list[str] = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        room = parts[0]
        where = path.relative_to(package.parent).as_posix()
        if room not in ROOMS and room not in FRONT:
            faults.append(f"{where}: unknown room {room}: add it to the list ROOMS, in its place")
            continue
        here = (package.name, *parts[:-1])
        for line, module, name in imported(ast.parse(path.read_text(encoding="utf-8")), here):
            if module[:1] != (package.name,):
                continue
            if len(module) > 1:
                target = module[1]
            elif name in ROOMS or name in FRONT:
                target = name
            elif name == "__version__":
                continue
            else:
                # By way of the front is no way round; without a name anything may be meant.
                target = offered.get(name, "")
            if target == NOT_FOR_US and room != NOT_FOR_US:
                faults.append(f"{where}:{line}: nobody here imports {NOT_FOR_US}")
            elif room in FRONT or target == "_version":
                continue
            elif target not in ROOMS:
                faults.append(
                    f"{where}:{line}: imports {'.'.join((*module, name)).rstrip('.')}: "
                    "import it from its room"
                )
            elif ROOMS.index(target) > ROOMS.index(room):
                faults.append(f"{where}:{line}: {room} imports {target}, which stands below it")
    return faults


def test_imports_point_one_way() -> None:
    assert import_faults(PACKAGE) == []


def house(tmp_path: Path, files: dict[str, str]) -> Path:
    package = tmp_path / "concurrent_exec"
    package.mkdir()
    front = "from concurrent_exec.executors.base import Executor\nfrom .model import Job as Work\n"
    for name, text in {"__init__.py": front, **files}.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("sink.py", "from concurrent_exec.run import Run", "sink imports run"),
        ("sink.py", "from concurrent_exec.run.gate import Gate", "sink imports run"),
        ("sink.py", "import concurrent_exec.run.gate", "sink imports run"),
        ("sink.py", "from concurrent_exec import model, run", "sink imports run"),
        ("sink.py", "from concurrent_exec import Executor", "sink imports executors"),
        ("sink.py", "from .run import Run", "sink imports run"),
        ("sink.py", "from . import run", "sink imports run"),
        ("sink.py", "def f():\n    import concurrent_exec.cli", "sink imports cli"),
        ("sink.py", "if TYPE_CHECKING:\n    from .cluster import Node", "sink imports cluster"),
        ("sink.py", "importlib.import_module('concurrent_exec.bulk')", "sink imports bulk"),
        ("sink.py", "import concurrent_exec", "import it from its room"),
        ("sink.py", "from concurrent_exec import *", "import it from its room"),
        ("sink.py", "from concurrent_exec.cellar import Wine", "import it from its room"),
        ("run/gate.py", "from ..drivers import Session", "run imports drivers"),
        ("run/__init__.py", "from .. import aio", "run imports aio"),
        ("cluster/node.py", "from ..cli import main", "cluster imports cli"),
        ("cli.py", "from concurrent_exec.testing import Clock", "nobody here imports testing"),
        ("__init__.py", "from .testing import Clock", "nobody here imports testing"),
        ("cellar.py", "", "add it to the list"),
        ("cellar/__init__.py", "", "add it to the list"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (found,) = import_faults(house(tmp_path, {name: text}))
    assert fault in found
    assert found.startswith(f"concurrent_exec/{name}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sink.py", "from concurrent_exec.model import Job"),
        ("sink.py", "from concurrent_exec import Work, __version__"),
        ("sink.py", "import collections, cassandra.cluster"),
        ("run/gate.py", "from . import job\nfrom .job import Job\nfrom ..sink import Sink"),
        ("run/__init__.py", "from .gate import Gate\nfrom ..model import Job"),
        ("testing/clock.py", "from concurrent_exec.testing.session import Session"),
        ("cluster/node.py", "from concurrent_exec.connect import connect"),
        ("cli.py", "from concurrent_exec import Executor\nfrom ._version import version"),
        ("__main__.py", "from concurrent_exec.cli import main"),
        ("__init__.py", "import concurrent_exec.cli\nfrom . import aio"),
    ],
)
def test_a_right_import_is_let_through(tmp_path: Path, name: str, text: str) -> None:
    assert import_faults(house(tmp_path, {name: text})) == []


# --- nothing is skipped ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def test(): pass", pytest.ExitCode.OK),
        ("def test(): pytest.skip('later')", pytest.ExitCode.TESTS_FAILED),
        ("@pytest.mark.skip\ndef test(): pass", pytest.ExitCode.TESTS_FAILED),
        ("pytest.importorskip('no_such_module')", pytest.ExitCode.TESTS_FAILED),
        ("@pytest.mark.xfail\ndef test(): assert 0", pytest.ExitCode.TESTS_FAILED),
        ("@pytest.mark.xfail(strict=False)\ndef test(): pass", pytest.ExitCode.TESTS_FAILED),
        ("", pytest.ExitCode.NO_TESTS_COLLECTED),
    ],
)
def test_a_session_with_a_skip_has_failed(tmp_path: Path, body: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n{body}\n", encoding="utf-8")
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.no_skips"]
    command += ["-p", "no:cacheprovider", "-c", str(tmp_path / "setup.cfg"), str(tmp_path)]
    # The plugins that are installed take half the time of the start, and no part in this.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stdout + done.stderr
    wanted = status == pytest.ExitCode.TESTS_FAILED
    assert ("failed: nothing may be skipped" in done.stdout) is wanted


# --- what only some systems have ------------------------------------------------------------

POSIX_ONLY = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog"}
POSIX_ONLY |= {"termios", "tty", "_posixshmem", "_posixsubprocess"}
"""Modules of the standard library that Windows has not."""
BOUND_TO_POSIX = ("bulk", "cluster", "cli", "comparing", "__main__")
"""Rooms that lock files, start processes of Java, or ask the system what memory there was."""


def posix_imports(package: Path) -> list[str]:
    """Every import of what only POSIX has, as "path: module", also within functions."""
    return [
        f"{path.relative_to(package.parent).as_posix()}: {module[0]}"
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).with_suffix("").parts[0] not in BOUND_TO_POSIX
        for _, module, _ in imported(ast.parse(path.read_text(encoding="utf-8")), ())
        if module and module[0] in POSIX_ONLY
    ]


def test_the_core_imports_nothing_that_only_posix_has() -> None:
    assert posix_imports(PACKAGE) == []


def test_an_import_of_what_only_posix_has_is_seen(tmp_path: Path) -> None:
    room = tmp_path / "house" / "run"
    room.mkdir(parents=True)
    (room / "locking.py").write_text("import os\n\ndef lock():\n    from fcntl import flock\n")
    assert posix_imports(tmp_path / "house") == ["house/run/locking.py: fcntl"]
