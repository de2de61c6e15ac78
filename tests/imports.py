"""The rooms of the house in their order, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator

# From the top of the house down; a room imports only itself and rooms before it. `connect` comes
# before `cluster`, because it opens sessions to any cluster, whoever started that.
ROOMS = (
    "model",
    "sink",
    "pacing",
    "retry",
    "run",
    "testing",
    "drivers",
    "executors",
    "compat",
    "aio",
    "observers",
    "bulk",
    "distributed",
    "comparing",
    "cqlshrc",
    "connect",
    "cluster",
    "cli",
    "__main__",
)
# The package's own front, which gathers what the rooms offer.
FRONT = ("__init__", "_version")


def imported(tree: ast.AST, here: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """Line, module and name ("" for the module itself) of every import, wherever it stands.

    Those in functions and under TYPE_CHECKING count: who knows whom is the question, not when.
    `here` is the package that relative imports start from.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split(".")), ""
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                module = here[: len(here) - node.level + 1] + module
            for alias in node.names:
                yield node.lineno, module, alias.name
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            first = node.args[0]
            if (
                name in ("import_module", "__import__")
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                yield node.lineno, tuple(first.value.split(".")), ""
