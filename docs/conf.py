"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# Sphinx executes this file by itself, and what it is made of stands beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.site import choices, commands, docstrings, flow, names, rooms

project = "concurrent_exec"
author = "the authors of concurrent_exec"
release = version = metadata.version("concurrent-exec")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["made", "site"]
html_theme = "furo"
html_title = f"concurrent_exec {release}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# The headings that links may name: `page.md#a-heading`.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_typehints = "both"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autoclass_content = "both"  # what a class is, and what it is made with
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"

# A link to what is not there is a warning, and so an error. Nobody's names but ours are looked at:
# those of others stand on other sites, which a build must not need.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!concurrent_exec\b).*"),
    ("py:.*", r"concurrent_exec\..*\.(_\w+(\.\w+)*|R|R_co)"),  # private names, variables of types
]
# Types of ours that stand in signatures, and that nobody makes or imports by themselves.
nitpick_ignore = [
    ("py:class", f"concurrent_exec.{name}")
    for name in (
        "aio.wakeups.Wakeups",
        "bulk.ledger.Ledger",
        "cluster.processes.ProcessIdentity",
        "comparing.measuring.Go",
        "executors.auto.Choice",
        "testing.session.ScriptedWire",
    )
]

_UP = re.compile(r"\]\((\.\./[^)#]+\.md)\)")


def link_outside(app: Any, docname: str, source: list[str]) -> None:
    """Hand out pages that are outside of this folder as files, as links to code do."""
    here = Path(app.srcdir).resolve()

    def link(found: re.Match[str]) -> str:
        page = (here / docname).parent / found[1]
        return found[0] if page.resolve().is_relative_to(here) else f"](path:{found[1]})"

    source[0] = _UP.sub(link, source[0])


def make_pages(app: Any) -> None:
    """Write what is made from the code and the measurements, before the pages are read."""
    folder = Path(app.srcdir) / "made"
    folder.mkdir(exist_ok=True)
    for made_by in (rooms, flow, choices, commands):
        for name, text in made_by.files().items():
            path = folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    app.connect("builder-inited", make_pages)
    app.connect("source-read", link_outside)
    docstrings.setup(app)
    names.setup(app)
