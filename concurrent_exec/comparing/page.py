"""The page of a comparison: plots and table, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from io import StringIO
from string import Template
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from concurrent_exec.comparing.choosing import RULE
from concurrent_exec.comparing.measuring import Spread
from concurrent_exec.comparing.row import Row

if TYPE_CHECKING:
    from concurrent_exec.comparing.comparison import Comparison

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Strategies compared: $title</title>
<style>
body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 65em; padding: 0 1em; color: #222 }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-size: 14px }
th, td { padding: 0.25em 0.75em; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
tr.knee { font-weight: bold }
small { color: #666; font-weight: normal; white-space: nowrap }
code { background: #f2f2f2; padding: 0.1em 0.3em }
.verdict { border-left: 0.4em solid #2a7; padding-left: 1em }
</style>
</head>
<body>
<h1>Strategies compared</h1>
<p><code>$title</code></p>
<p class="verdict">$verdict</p>
<p>$rule</p>
$plot
<table>
<thead><tr>$head</tr></thead>
<tbody>
$body
</tbody>
</table>
<p>Medians of $rounds rounds of $statements statements, with the lowest and the highest below.
CPU is of the client's process, a statement. Times are from sending a statement to its answer, of
goes of their own. Peak is of the client process's resident memory. A knee is in bold.</p>
<p><small>$environment</small></p>
</body>
</html>
""")

_COLUMNS: dict[str, Callable[[Row], str]] = {
    "executor": lambda row: escape(row.executor),
    "concurrency": lambda row: f"{row.concurrency:,}",
    "statements/s": lambda row: _cell(row.rate, ",.0f"),
    "CPU us": lambda row: _cell(row.cpu_us, ",.1f"),
    "p50 ms": lambda row: _cell(row.p50_ms, ",.2f"),
    "p99 ms": lambda row: _cell(row.p99_ms, ",.2f"),
    "p999 ms": lambda row: _cell(row.p999_ms, ",.2f"),
    "peak MB": lambda row: _cell(row.peak_mb, ",.0f"),
    "failed": lambda row: _failed(row),
}
_LINES: dict[str, Callable[[Row], Spread | None]] = {
    "-": lambda row: row.p50_ms,
    "--": lambda row: row.p99_ms,
    ":": lambda row: row.p999_ms,
}
_WORDS = {"-": "p50", "--": "p99", ":": "p999"}


def render(comparison: Comparison) -> str:
    """Return the page."""
    knees = comparison.knees
    return _PAGE.substitute(
        title=escape(comparison.statement),
        verdict=escape(comparison.verdict),
        rule=escape(RULE),
        plot=_plot(comparison),
        head="".join(f"<th>{name}</th>" for name in _COLUMNS),
        body="\n".join(_line(row, knees.get(row.executor) is row) for row in comparison.rows),
        rounds=comparison.rounds,
        statements=f"{comparison.statements_per_go:,}",
        environment=escape(
            ", ".join(f"{name} {value}" for name, value in comparison.environment.items())
        ),
    )


def _line(row: Row, is_knee: bool) -> str:
    cells = "".join(f"<td>{cell(row)}</td>" for cell in _COLUMNS.values())
    return f'<tr class="knee">{cells}</tr>' if is_knee else f"<tr>{cells}</tr>"


def _cell(spread: Spread | None, form: str) -> str:
    if spread is None:
        return "-"
    low, high = format(spread.low, form), format(spread.high, form)
    return f"{spread.median:{form}}<br><small>{low} to {high}</small>"


def _failed(row: Row) -> str:
    if not row.errors:
        return f"{row.failed:,}"
    kinds = ", ".join(f"{escape(kind)} {count:,}" for kind, count in row.errors.items())
    return f"{row.failed:,}<br><small>{kinds}</small>"


def _plot(comparison: Comparison) -> str:
    """Return an SVG: throughput and latency over concurrency, with the knees marked."""
    written = StringIO()
    # Text stays text, which keeps the page small and can be searched.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "compare", "font.size": 10}):
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        throughput, latency = figure.subplots(1, 2)
        latency.set_yscale("log")
        for number, executor in enumerate(dict.fromkeys(row.executor for row in comparison.rows)):
            rows = [row for row in comparison.rows if row.executor == executor]
            color = f"C{number}"
            _draw(throughput, rows, lambda row: row.rate, color, "-", executor)
            for style, value in _LINES.items():
                _draw(latency, rows, value, color, style, f"{executor} {_WORDS[style]}")
            knee = comparison.knees.get(executor)
            if knee is not None:
                _mark(throughput, knee, knee.rate, color, f"knee {knee.concurrency:,}")
                _mark(latency, knee, knee.p99_ms, color, "")
        levels = sorted({row.concurrency for row in comparison.rows})
        for axes, name in ((throughput, "statements/s"), (latency, "ms")):
            _set_axes(axes, name, levels)
        throughput.set_ylim(bottom=0)
        latency.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        plain = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=plain)
    svg = written.getvalue()
    label = "Throughput and latency over concurrency"
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _draw(
    axes: Axes,
    rows: Iterable[Row],
    value: Callable[[Row], Spread | None],
    color: str,
    style: str,
    label: str,
) -> None:
    points = [(row.concurrency, spread) for row in rows if (spread := value(row)) is not None]
    if not points:
        return
    levels = [level for level, _ in points]
    medians = [spread.median for _, spread in points]
    axes.plot(levels, medians, color=color, linestyle=style, marker=".", label=label)
    if axes.get_yscale() == "linear":  # of latencies there are too many lines for their spreads
        lows, highs = [each.low for _, each in points], [each.high for _, each in points]
        axes.vlines(levels, lows, highs, color=color, alpha=0.5)


def _mark(axes: Axes, row: Row, spread: Spread | None, color: str, words: str) -> None:
    if spread is not None:
        at = (row.concurrency, spread.median)
        axes.plot(*at, marker="o", markersize=12, fillstyle="none", color=color)
        axes.annotate(
            words, at, xytext=(0, -18), textcoords="offset points", ha="center", color=color
        )


def _set_axes(axes: Axes, name: str, levels: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:,}" for level in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xmargin(0.1)
    axes.set_xlabel("concurrency")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(fontsize="small")
