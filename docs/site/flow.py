"""A picture of the way of a statement, by the names that the code has for its stations."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from concurrent_exec import Executor, Results, Session
from concurrent_exec.run import Gate, Job, Run, Source
from concurrent_exec.sink import Sink

# Of the real classes and methods: one that is renamed is so here, one that goes fails the build.
OUT: tuple[tuple[Callable[..., Any], ...], ...] = (
    (Source,),
    (Run.offer,),
    (Gate.take,),
    (Executor._launch,),
    (Session.execute_async,),
)
BACK: tuple[tuple[Callable[..., Any], ...], ...] = (
    (Results.__next__,),
    (Run.take_results,),
    (Sink.put,),
    (Run.settle,),
    (Job.succeed, Job.fail),
)
ABOVE = ("your iterable", "into the window", "with a permit", "the strategy", "the driver")
BELOW = ("your loop", "what may leave", "in order", "once for each", "the answer")

_LEFT, _WIDTH, _GAP, _HEIGHT = 10, 150, 30, 46


def picture() -> str:
    """Return an SVG: out on the upper line, back on the lower one."""
    lines: list[str] = []
    for row, (top, stations, words) in enumerate(((28, OUT, ABOVE), (148, BACK, BELOW))):
        for number, (names, word) in enumerate(zip(stations, words, strict=True)):
            left = _LEFT + (_WIDTH + _GAP) * number
            text = " / ".join(_named(each) for each in names)
            lines.append(
                f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
                'fill="#eef4f8" stroke="#2f6f9f"/>'
                f'<text x="{left + _WIDTH / 2}" y="{top + 28}" text-anchor="middle" '
                f'font-family="monospace" font-size="12">{escape(text)}</text>'
                f'<text x="{left + _WIDTH / 2}" y="{top - 7 if row == 0 else top + 64}" '
                f'text-anchor="middle" font-size="12" fill="#555">{word}</text>'
            )
            if number < len(stations) - 1:
                ends = (left + _WIDTH, left + _WIDTH + _GAP)
                start, end = ends if row == 0 else ends[::-1]
                lines.append(_arrow(start, top + _HEIGHT / 2, end, top + _HEIGHT / 2))
    last = _LEFT + (_WIDTH + _GAP) * 4 + _WIDTH / 2
    lines.append(_arrow(last, 28 + _HEIGHT, last, 148))
    room = _LEFT + (_WIDTH + _GAP) * 2 + _WIDTH / 2
    lines.append(_arrow(room, 148, room, 28 + _HEIGHT, "4 4"))
    lines.append(f'<text x="{room + 8}" y="115" font-size="12" fill="#555">room for more</text>')
    width = 2 * _LEFT + (_WIDTH + _GAP) * 5 - _GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 225" '
            f'width="{width}" height="225" font-family="sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
            f'<rect width="{width}" height="225" fill="white"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _named(thing: Callable[..., Any]) -> str:
    return thing.__qualname__


def _arrow(x1: float, y1: float, x2: float, y2: float, dashes: str = "none") -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555" '
        f'stroke-dasharray="{dashes}" marker-end="url(#tip)"/>'
    )


def files() -> dict[str, str]:
    """Return the text of each file that is made of this, by its name."""
    return {"flow.svg": picture()}
