"""What the README shows can be done as it shows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROOF

ROWS = 10_000 if PROOF else 1_000
README = Path(__file__).parents[1] / "README.md"


def sample(mark: str) -> str:
    """Return the one Python sample that has `mark` in it."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = (block for block in blocks if mark in block)
    assert isinstance(found, str)
    return found


@pytest.mark.cluster
def test_the_first_ten_lines(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connecting = 'Cluster(["127.0.0.1"]).connect()'
    code = sample(connecting).replace(connecting, "the_session").replace("10_000", f"{ROWS}")
    try:
        exec(code, {"the_session": session})
    finally:
        session.execute("DROP KEYSPACE IF EXISTS shop", timeout=30)
    assert capsys.readouterr().out.splitlines() == [f"user {number}" for number in range(ROWS)]


def test_the_scripted_session() -> None:
    exec(sample("ScriptedSession"), {})


def test_its_links_lead_somewhere() -> None:
    text = README.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", each).replace(" ", "-").lower() for each in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (README.parent / target).exists(), target
