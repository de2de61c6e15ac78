"""What the commands themselves say of their options."""

from __future__ import annotations

from collections.abc import Iterator

import click

from concurrent_exec.cli.app import PROGRAM, app

COLUMNS = 96


def helps(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    """Yield the help of `command` and of those below it, in Markdown."""
    settings = {**command.context_settings, "terminal_width": COLUMNS}
    context = click.Context(command, info_name=name, parent=above, **settings)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each, below in sorted(command.commands.items()):
            yield from helps(below, each, context)


def files() -> dict[str, str]:
    """Return the text of each file that is made of the commands, by its name."""
    return {"commands.md": "\n".join(helps(app, PROGRAM, None))}
