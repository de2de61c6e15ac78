"""Our docstrings, which are plain text, as Sphinx reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from docs.site.names import public_names

# "name, other: what they are"; longer texts go on below, indented.
_ITEM = re.compile(r"(?P<names>\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*): +(?P<text>\S.*)")
_QUOTED = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def as_fields(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a docstring, with each parameter that they tell of as a field.

    A paragraph tells of parameters when its first line is "name: what it is"; what is indented
    below a line belongs to it.
    """
    inside = False
    for number, line in enumerate(lines):
        item = _ITEM.fullmatch(line)
        begins = number > 0 and not lines[number - 1].strip()
        if item and (inside or begins):
            inside = True
            yield f":param {item['names']}: {item['text']}".replace("*", "\\*")
        else:
            inside = inside and line.startswith(" ")
            yield line


def linked(lines: list[str], is_ours: Callable[[str], bool]) -> Iterator[str]:
    """Yield the lines with what stands in backticks as a link where it is ours, else as code."""
    for line in lines:
        plain = line
        yield _QUOTED.sub(
            lambda quoted: f":py:obj:`{quoted[1]}`" if is_ours(quoted[1]) else f"``{quoted[1]}``",
            plain,
        )


def setup(app: Any) -> None:
    """Have every docstring read so."""
    ours = {name.rpartition(".")[2] for name in public_names()}

    def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        # The signature of a class has its parameters, and its docstring may tell of fields.
        lines[:] = linked(list(as_fields(lines)), ours.__contains__)

    app.connect("autodoc-process-docstring", process)
