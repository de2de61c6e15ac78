"""The public names, and that each of them has its place in the reference."""

from __future__ import annotations

from collections.abc import Container, Iterable
from importlib import import_module
from typing import Any

PUBLIC = (
    "concurrent_exec",
    "concurrent_exec.aio",
    "concurrent_exec.bulk",
    "concurrent_exec.cluster",
    "concurrent_exec.comparing",
    "concurrent_exec.connect",
    "concurrent_exec.distributed",
    "concurrent_exec.observers",
    "concurrent_exec.testing",
)
"""The modules that users import from. What stands in others is reached through these."""


def public_names() -> list[str]:
    """Return every public name with its module's before it."""
    return [f"{module}.{name}" for module in PUBLIC for name in import_module(module).__all__]


def lacking(documented: Container[str]) -> list[str]:
    """Return the public names that are not documented, neither so nor where they are defined."""
    return [
        name
        for name in public_names()
        if name not in documented and _definition(name) not in documented
    ]


def _definition(name: str) -> str:
    """Return what a class or function is called by the module that defines it."""
    module, _, last = name.rpartition(".")
    thing = getattr(import_module(module), last)
    return f"{getattr(thing, '__module__', module)}.{getattr(thing, '__qualname__', last)}"


def home_of(name: str, documented: Iterable[str]) -> str | None:
    """Return where a thing of ours is documented that is called by the module that defines it.

    `concurrent_exec.model.result.Failure` stands in the reference as `concurrent_exec.Failure`.
    """
    wanted = name.split(".")
    for parts in (wanted[-1:], wanted[-2:]):
        ending = "." + ".".join(parts)
        if found := [each for each in documented if each.endswith(ending)]:
            return min(found, key=len)
    return None


def setup(app: Any) -> None:
    """Find our names by whatever module, and warn of public names that are not documented."""
    from sphinx.util import logging
    from sphinx.util.nodes import make_refnode

    logger = logging.getLogger(__name__)

    def find(app: Any, env: Any, node: Any, content: Any) -> Any:
        target = node.get("reftarget", "")
        if node.get("refdomain") != "py" or not target:
            return None
        objects = env.get_domain("py").objects
        home = home_of(target, objects)
        if home is None:
            return None
        entry = objects[home]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, home
        )

    def check(app: Any, env: Any) -> None:
        for name in lacking(env.get_domain("py").objects):
            logger.warning("%s is public, and not in the reference", name)

    app.connect("missing-reference", find)
    app.connect("env-check-consistency", check)
