"""A group of commands that knows what a mistyped one may have meant."""

from __future__ import annotations

import difflib

import click


class SuggestingGroup(click.Group):
    """Like click's, but suggests near names also where click is older than 8.4."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with; raises UsageError with a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            message = error.format_message()
            near = difflib.get_close_matches(args[0], self.list_commands(ctx))
            if not near or "Did you mean" in message:
                raise
            names = " or ".join(map(repr, near))
            raise click.UsageError(f"{message} Did you mean {names}?", ctx) from error
