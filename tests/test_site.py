"""What the site is made with: names, docstrings, pictures; and the links of the README."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest

from concurrent_exec.cli.app import app
from docs.site import choices, commands, docstrings, flow, names, rooms
from perf.ways import WAYS
from tests.imports import ROOMS

ROOT = Path(__file__).parents[1]
INSIDE = {"model", "sink", "pacing", "retry", "run", "drivers", "executors", "compat"}
INSIDE |= {"cqlshrc", "cli"}
"""Rooms that nobody imports from: what is for others there is offered by the front."""


def test_the_links_of_the_readme_lead_somewhere() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", each).replace(" ", "-").lower() for each in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (readme.parent / target).exists(), target


def test_every_room_is_public_or_not() -> None:
    public = {name.partition(".")[2] for name in names.PUBLIC} - {""}
    there = {room.name for room in rooms.rooms()}
    assert public <= set(ROOMS)
    assert there - public == INSIDE, "say in docs/site/names.py or here which it is"


def test_every_public_module_has_its_page() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert set(re.findall(r"automodule:: (\S+)", pages)) == set(names.PUBLIC)


def test_a_public_name_that_is_not_documented_is_told() -> None:
    public = names.public_names()
    assert names.lacking(public) == []
    assert "concurrent_exec.Retry" in public
    without = [name for name in public if name != "concurrent_exec.Retry"]
    assert names.lacking(without) == ["concurrent_exec.Retry"]
    assert names.lacking([*without, "concurrent_exec.retry.policy.Retry"]) == []


def test_our_names_are_found_by_whatever_module() -> None:
    documented = ["concurrent_exec.Failure", "concurrent_exec.bulk.Report", "other.Report"]
    assert names.home_of("concurrent_exec.model.result.Failure", documented) == documented[0]
    assert names.home_of("concurrent_exec.bulk.report.Report", documented[:2]) == documented[1]
    assert names.home_of("concurrent_exec.model.result.Nothing", documented) is None


def test_parameters_of_a_docstring_become_fields() -> None:
    text = """Do it.

    paths, more: files, or
        folders.
    *rest: others.

    Note: this is no parameter, nor is
    that: a sentence.
    """
    lines = [line.strip() if line[:8].strip() else line[4:] for line in text.splitlines()]
    assert list(docstrings.as_fields(lines)) == [
        "Do it.",
        "",
        ":param paths, more: files, or",
        "    folders.",
        ":param \\*rest: others.",
        "",
        "Note: this is no parameter, nor is",
        "that: a sentence.",
        "",
    ]


def test_what_stands_in_backticks_is_a_link_or_code() -> None:
    (line,) = docstrings.linked(["`Retry` and `x[1]`, ``as is``"], {"Retry"}.__contains__)
    assert line == ":py:obj:`Retry` and ``x[1]``, ``as is``"


def house(tmp_path: Path) -> list[rooms.Room]:
    for name, text in {
        "model.py": '"""Words.\n\nMore."""\n\n__all__ = ["Word"]\n',
        "run/__init__.py": '"""Runs."""\n',
        "run/gate.py": "from house.model import Word\nfrom house.run import x\n",
        "cli.py": "def f():\n    from . import run\n",
    }.items():
        (tmp_path / "house" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "house" / name).write_text(text)
    return rooms.rooms(tmp_path / "house")


def test_rooms_are_as_their_files_are(tmp_path: Path) -> None:
    model, run, cli = house(tmp_path)
    assert (model.purpose, model.public, model.imports) == ("Words.", ["Word"], set())
    assert (run.modules, run.imports) == ({"run/__init__.py": 1, "run/gate.py": 2}, {"model"})
    assert cli.imports == {"run"}


def test_the_picture_has_an_arc_for_each_import(tmp_path: Path) -> None:
    drawn = ElementTree.fromstring(rooms.picture(house(tmp_path)))
    titles = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert [each for each in titles if each and "imports" in each] == [
        "run imports model",
        "cli imports run",
    ]


def test_the_tables_have_sizes_and_public_names(tmp_path: Path) -> None:
    found = house(tmp_path)
    assert "| `run` | Runs. | 2 | 3 |" in rooms.table(found)
    assert "| | in all | 4 | 10 |" in rooms.table(found)
    assert "Public names: `Word`." in rooms.details(found)


def measured(way: str, ratio: float) -> dict[str, Any]:
    at = {"server": "void", "workload": "write", "value_bytes": 20, "concurrency": 100}
    return {"way": way, **at, "timed": False, "cpu_ratio": [ratio, ratio, ratio]}


def test_the_picture_of_choices_has_what_was_measured() -> None:
    rows = [measured("DirectExecutor, list", 0.14), measured("drivers' helper, list", 1.0)]
    drawn = choices.picture({"cassandra-driver": {"rows": rows}})
    ElementTree.fromstring(drawn)
    assert drawn.count("of the helper&#x27;s CPU") == 1
    assert "cassandra-driver: 0.14" in drawn
    for choice in choices.CHOICES:
        assert choice.executor in drawn
    assert "helper" not in choices.picture({})


def test_the_ways_of_the_choices_are_measured() -> None:
    assert {choice.way for choice in choices.CHOICES} <= {*WAYS, ""}


def test_the_way_of_a_statement_is_drawn_by_the_names_of_the_code() -> None:
    ElementTree.fromstring(flow.picture())
    assert ">Gate.take</text>" in flow.picture()


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_extra_that_a_page_names_is_there() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    there = {*config["options.extras_require"], "..."}
    for page in pages():
        for extras in re.findall(r"(?:concurrent-exec|'\.)\[([\w,.]+)\]", page.read_text()):
            assert set(extras.split(",")) <= there, (page, extras)


def unknown_words(line: str) -> list[str]:
    """Return what of a line of a shell is no command or option of ours."""
    command: click.Command = app
    words = iter(shlex.split(line, comments=True)[1:])
    unknown = []
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            if word not in command.commands:
                return [word]
            command = command.commands[word]
        elif word.startswith("--"):
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            unknown += [word] if word not in known | {"--help"} else []
        elif word in ("|", ">"):
            break
    return unknown


def test_every_command_that_a_page_shows_has_such_options() -> None:
    lines = [
        (page, line)
        for page in pages()
        for line in re.findall(
            r"^(?: {4})?(concurrent-exec .*)", page.read_text().replace("\\\n", ""), re.MULTILINE
        )
        if line.count("'") % 2 == 0
    ]
    assert len(lines) > 20
    assert [(page, line) for page, line in lines if unknown_words(line)] == []
    assert unknown_words("concurrent-exec cassandra begin") == ["begin"]
    assert unknown_words("concurrent-exec run 'INSERT' x.csv --jump 3") == ["--jump"]


@pytest.mark.parametrize("command", ["run", "compare", "cassandra start", "cassandra stop"])
def test_every_command_is_on_its_page(command: str) -> None:
    assert f"## `concurrent-exec {command}`" in commands.files()["commands.md"]
