"""A command whose options are listed in groups, and that knows what a mistyped one may mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

ARGUMENTS = "concurrent_exec.arguments"
"""Where the context's `meta` has the arguments as they were given."""


class GroupedCommand(click.Command):
    """Like click's, with options under headings."""

    def __init__(
        self, *args: Any, groups: Mapping[str, Sequence[str]], rest: str, **options: Any
    ) -> None:
        """Make one.

        groups: by heading the names of the options' parameters.
        rest: the heading of all that is in none of them.
        """
        super().__init__(*args, **options)
        self.groups = groups
        self.rest = rest

    def grouped(self, context: click.Context) -> dict[str, list[click.Parameter]]:
        """Return the options by heading."""
        heading_of = {name: heading for heading, names in self.groups.items() for name in names}
        found: dict[str, list[click.Parameter]] = {
            heading: [] for heading in (*self.groups, self.rest)
        }
        for parameter in self.get_params(context):
            if isinstance(parameter, click.Option):
                found[heading_of.get(parameter.name or "", self.rest)].append(parameter)
        return {heading: options for heading, options in found.items() if options}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the arguments as they were given."""
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        for heading, options in self.grouped(ctx).items():
            records = [record for each in options if (record := each.get_help_record(ctx))]
            with formatter.section(heading):
                formatter.write_dl(records)
