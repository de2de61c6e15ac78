"""What a run writes never takes the place of what it reads, nor of anything that is no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type, UTF8Type

from concurrent_exec.bulk import BulkError, FailedSource, open_source, run
from concurrent_exec.bulk.appending import Appender
from concurrent_exec.cli import main
from concurrent_exec.testing import Reply, ScriptedSession
from tests.bulk.samples import brings

DATA = "id\n1\n"
READ = "SELECT v FROM t WHERE id = ?"
WRITTEN = ["failed_file", "output", "not_found_file", "checkpoint"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which there is an ids.csv, with more names than one."""
    monkeypatch.chdir(tmp_path)
    Path("ids.csv").write_text(DATA)
    Path("linked.csv").symlink_to("ids.csv")
    os.link("ids.csv", "same.csv")
    return tmp_path


def read(source: Any, **options: Any) -> Any:
    session = ScriptedSession(lambda *_: Reply(rows=[("x",)], at_once=True))
    statement = session.as_prepared(READ, {"id": Int32Type}, partition_key=["id"])
    return run(session, brings(statement, [("v", UTF8Type)]), source, **options)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("path", ["ids.csv", "./ids.csv", "linked.csv", "same.csv"])
@pytest.mark.usefixtures("here")
def test_an_input_is_not_written_over(name: str, path: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a file of its own, and .* an input$"):
        read(open_source(["ids.csv"]), overwrite=True, **{name: path})
    assert Path("ids.csv").read_text() == DATA


def test_nor_are_failed_records_that_are_taken_again(here: Path) -> None:
    Path("failed").write_text('{"record": {"id": "1"}, "input": "text"}\n')
    with pytest.raises(ValueError, match="failed_file must be a file of its own"):
        read(FailedSource(Path("failed")), overwrite=True, failed_file=here / "failed")


@pytest.mark.parametrize("other", WRITTEN[:1] + WRITTEN[2:])
@pytest.mark.usefixtures("here")
def test_two_files_are_not_one(other: str) -> None:
    with pytest.raises(ValueError, match=r"must be a file of its own, and x.csv is that of \w+$"):
        read(open_source(["ids.csv"]), output="x.csv", **{other: "x.csv"})
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--failed", "ids.csv"], ["--checkpoint", "ids.csv"], ["--output", "ids.csv"]),
        *(["--not-found", "ids.csv"], ["--json", "ids.csv"], ["--output", "x", "--json", "x"]),
        *(["--json", "x.svg", "--latency", "x.svg"], ["--latency", "x.svg", "--latency", "x.svg"]),
        ["--failed", "x", "--checkpoint", "x"],
    ],
)
@pytest.mark.usefixtures("here")
def test_the_command_says_so_by_its_options(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it connects."""
    assert main(["run", READ, "ids.csv", "--overwrite", *arguments]) == 2
    said = f"error: {arguments[-2]} must be a file of its own, and {arguments[-1]} is "
    assert said in capsys.readouterr().err
    assert Path("ids.csv").read_text() == DATA


@pytest.fixture
def pipe(here: Path) -> Path:
    """What is no file, as /dev/null is none."""
    os.mkfifo("pipe")
    return here / "pipe"


@pytest.mark.parametrize("failing", [True, False])
def test_what_is_no_file_is_written_to_and_stays(pipe: Path, failing: bool) -> None:
    """By several, too."""
    if failing:
        Path("ids.csv").write_text("id\nx\n")
    options: Any = {"output": pipe, "output_format": "csv"}
    report = read(open_source(["ids.csv"]), failed_file=pipe, not_found_file=pipe, **options)
    assert report.all_done != failing
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    "options", [{"checkpoint": "pipe"}, {"output": "pipe", "output_format": "parquet"}]
)
def test_nor_is_it_replaced(pipe: Path, options: Any) -> None:
    with pytest.raises(BulkError, match="pipe is no regular file, and would be replaced by one"):
        read(open_source(["ids.csv"]), overwrite=True, **options)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.fixture
def flow() -> Iterator[tuple[int, Path]]:
    """What a shell gives a command for `>(another)`: the name of a pipe, with its end to read."""
    reader, writer = os.pipe()
    with open(reader, "rb") as read, open(writer, "wb"):
        yield read.fileno(), Path(f"/dev/fd/{writer}")


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.usefixtures("here")
def test_a_link_to_a_pipe_is_the_pipe(flow: tuple[int, Path], linked: bool) -> None:
    reader, path = flow
    if linked:
        Path("link").symlink_to(path)
        path = Path("link")
    read(open_source(["ids.csv"]), output=path, output_format="csv", not_found_file=path)
    assert os.read(reader, 100) == b"v\nx\n"


@pytest.mark.usefixtures("pipe")
def test_a_link_to_a_named_pipe_that_nobody_reads_yet_is_the_pipe() -> None:
    Path("link").symlink_to("pipe")
    appender = Appender(Path("link"))
    appender.write(b"x")
    appender.flush()
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"x"
    os.close(reader)
    appender.close()


def test_who_reads_a_pipe_may_go(flow: tuple[int, Path]) -> None:
    """Which is an error: nothing waits for room that nobody makes."""
    reader, path = flow
    appender = Appender(path)
    with open(os.devnull, "rb") as other:
        os.dup2(other.fileno(), reader)
    appender.write(b"x")
    with pytest.raises(BrokenPipeError) as raised:
        appender.flush()
    assert raised.value.filename == str(path)
    appender.close()


@pytest.mark.parametrize("name", ["checkpoint", "output"])
@pytest.mark.usefixtures("here")
def test_a_link_to_a_pipe_is_not_replaced(flow: tuple[int, Path], name: str) -> None:
    _, path = flow
    options: Any = {name: path, "output_format": "parquet"} if name == "output" else {name: path}
    with pytest.raises(BulkError, match=r"/dev/fd/\d+ is no regular file, and would be replaced"):
        read(open_source(["ids.csv"]), **options)


@pytest.mark.usefixtures("here")
def test_other_links_are_not_followed() -> None:
    with open("ids.csv", "r+") as opened:
        Path("none.csv").symlink_to("missing.csv")
        Path("itself.csv").symlink_to("itself.csv")
        for path in ("linked.csv", f"/dev/fd/{opened.fileno()}", "none.csv", "itself.csv"):
            with pytest.raises(OSError, match="symbolic link"):
                Appender(Path(path))
    assert Path("ids.csv").read_text() == DATA
    assert not Path("missing.csv").exists()
