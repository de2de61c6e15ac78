"""What the pages say of the command is what it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from concurrent_exec.cli.app import app
from concurrent_exec.cli.reference import BEGIN, reference

PAGE = Path(__file__).parents[2] / "docs" / "run.md"


def test_the_page_has_every_option() -> None:
    """If not: make docs."""
    _, begin, options = PAGE.read_text().partition(BEGIN)
    assert begin
    assert options == reference()


def test_the_options_of_the_recipes_exist() -> None:
    used = set(re.findall(r"--[a-z][a-z-]+", PAGE.read_text().partition(BEGIN)[0]))
    assert used <= set(re.findall(r"--[a-z][a-z-]+", reference()))


def test_help_begins_with_examples_and_groups_options() -> None:
    text = CliRunner().invoke(app, ["run", "--help"]).output
    places = [text.index(each) for each in ("Examples:", "Input:", "Trust:", "Connection:")]
    assert places == sorted(places)
    assert text.index("  --resume") > text.index("Trust:")
    assert text.count("--contact-points") == 1


def test_shell_completion() -> None:
    def complete(**variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", "import sys; from concurrent_exec.cli import main; main()"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    name = "_CONCURRENT_EXEC_COMPLETE"
    assert "complete " in complete(**{name: "bash_source"})
    words = {"COMP_WORDS": "concurrent-exec run --retry", "COMP_CWORD": "2"}
    assert complete(**{name: "bash_complete"}, **words).splitlines() == ["plain,--retry-failed"]
    words = {"COMP_WORDS": "concurrent-exec run STATEMENT us", "COMP_CWORD": "3"}
    assert complete(**{name: "bash_complete"}, **words).splitlines() == ["file,us"]
