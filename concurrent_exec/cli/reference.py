"""The options of `concurrent-exec run` as a page has them: `make docs` writes them into one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .app import PROGRAM, app
from .run import run

BEGIN = "<!-- From here on: make docs -->\n"
"""The line of a page after which all is written anew."""


def reference() -> str:
    """Return a table of the options for each group, in Markdown."""
    above = click.Context(app, info_name=PROGRAM, **app.context_settings)
    context = click.Context(run, info_name="run", parent=above)
    return "".join(f"{line}\n" for line in _lines(context))


def _lines(context: click.Context) -> Iterator[str]:
    for heading, options in run.grouped(context).items():
        yield ""
        yield f"### {heading}"
        yield ""
        yield "| Option | |"
        yield "|---|---|"
        for option in options:
            record = option.get_help_record(context)
            assert record is not None, "none is hidden"
            names, words = (text.replace("|", "\\|") for text in record)
            yield f"| `{names}` | {' '.join(words.split())} |"


def write(page: Path) -> None:
    """Write the options into `page`, after the line that says where."""
    before, begin, _ = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + begin + reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
