"""Which executor to choose: a picture of the questions, with what was measured of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from perf import report, results
from perf.report import Documents

_LINE, _ROW, _TOP = 17, 92, 16
_QUESTION, _ANSWER, _LEFT, _GAP = 330, 300, 12, 70
_WIDTH = _LEFT + _QUESTION + _GAP + _ANSWER + _LEFT


@dataclass(frozen=True)
class Choice:
    """A question, and what to take where it is answered with yes."""

    question: tuple[str, ...]
    executor: str
    way: str
    """What perf calls it."""


CHOICES = (
    Choice(
        (
            "Has the session no execute_async, or must",
            "callbacks stay off the driver's I/O thread?",
        ),
        "ThreadExecutor",
        "ThreadExecutor, list",
    ),
    Choice(
        ("Does one process use a whole core, and", "are there more?"),
        "ProcessExecutor",
        "",
    ),
    Choice(
        ("Many small prepared writes, and may some of", "a batch be applied without the others?"),
        "BatchExecutor",
        "BatchExecutor, replica_set, list",
    ),
    Choice(
        ("Prepared statements, over a session of the", "driver's own?"),
        "DirectExecutor",
        "DirectExecutor, list",
    ),
    Choice(("Everything else",), "CallbackExecutor", "CallbackExecutor, list"),
)


def measured(strategies: Documents, way: str) -> list[str]:
    """Say for each driver what an insert costs so, beside the drivers' helper; nothing if unknown.

    As `make perf` has it, on the server that answers at once.
    """
    found = (
        (driver, report.only(strategies, driver, way=way, **_AT)) for driver in strategies if way
    )
    return [
        f"{driver}: {row['cpu_ratio'][0]:.2f} of the helper's CPU"
        for driver, row in found
        if row is not None
    ]


_AT = {
    "server": "void",
    "workload": "write",
    "value_bytes": 20,
    "concurrency": 100,
    "timed": False,
}


def picture(strategies: Documents) -> str:
    """Return an SVG of the questions, one below the other, each with its answer."""
    height = _TOP + _ROW * len(CHOICES)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            *(
                line
                for number, choice in enumerate(CHOICES)
                for line in _drawn(choice, number, measured(strategies, choice.way))
            ),
            "</svg>\n",
        ]
    )


def _drawn(choice: Choice, number: int, figures: list[str]) -> Iterator[str]:
    top = _TOP + _ROW * number
    is_last = number == len(CHOICES) - 1
    yield from _box(_LEFT, top, _QUESTION, choice.question, "#fdf6e3", "#b58900")
    right = _LEFT + _QUESTION
    middle = top + _BOX / 2
    yield from _arrow(right, middle, right + _GAP, middle, "" if is_last else "yes")
    if not is_last:
        yield from _arrow(_LEFT + 40, top + _BOX, _LEFT + 40, top + _ROW, "no")
    texts = (choice.executor, *figures)
    yield from _box(right + _GAP, top, _ANSWER, texts, "#eef4f8", "#2f6f9f")


_BOX = 62


def _box(
    left: int, top: int, width: int, texts: tuple[str, ...], fill: str, stroke: str
) -> Iterator[str]:
    yield (
        f'<rect x="{left}" y="{top}" width="{width}" height="{_BOX}" rx="5" fill="{fill}" '
        f'stroke="{stroke}"/>'
    )
    first = top + _BOX / 2 - _LINE * (len(texts) - 1) / 2 + 5
    for number, text in enumerate(texts):
        yield f'<text x="{left + 12}" y="{first + _LINE * number:.0f}">{escape(text)}</text>'


def _arrow(x1: float, y1: float, x2: float, y2: float, text: str) -> Iterator[str]:
    yield (f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555" marker-end="url(#tip)"/>')
    yield f'<text x="{(x1 + x2) / 2 + 6 - 12 * (y1 == y2)}" y="{(y1 + y2) / 2 - 4}">{text}</text>'


def figures(strategies: Documents) -> str:
    """Return the ways beside each other in Markdown, or that nothing was measured."""
    if not strategies:
        return "No whole run of `make perf` is kept here yet: it fills this table.\n"
    return f"{report.readme_table(strategies)}\n\n{report.origin(strategies)}\n"


def files() -> dict[str, str]:
    """Return the text of each file that is made of the choices, by its name."""
    strategies = report.loaded("strategies", results.FOLDER)
    return {"choosing.svg": picture(strategies), "figures.md": figures(strategies)}
