"""How long statements took, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .packages import need

HGRM = ".hgrm"
PLOTS = (".svg", ".png")


def check_latencies(path: Path) -> None:
    """Raise ValueError where the name of `path` asks for a form that there is not, Refused where
    it asks for a plot and nothing is there to draw it.
    """
    if path.suffix not in (HGRM, *PLOTS):
        raise ValueError(f"--latency: {path} must end in {HGRM}, or for a plot {', '.join(PLOTS)}")
    if path.suffix in PLOTS:
        need("matplotlib", f"--latency {path}")


def write_latencies(path: Path, histogram: Any) -> None:
    """Write a LatencyHistogram to `path`, in the form that its name asks for. Raises OSError."""
    if path.suffix == HGRM:
        with path.open("wb") as file:
            histogram.histogram.output_percentile_distribution(file, 1000.0)
    else:
        _plot(path, histogram)


def _plot(path: Path, histogram: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    levels, values = [], []
    for step in histogram.histogram.get_percentile_iterator(5):
        if step.percentile_level_iterated_to < 100:
            levels.append(1 / (1 - step.percentile_level_iterated_to / 100))
            values.append(step.value_iterated_to / 1000)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(levels, values)
    axes.set_xscale("log")
    ticks = [
        level for level in (1, 10, 100, 1_000, 10_000, 100_000) if level <= max(levels, default=1)
    ]
    axes.set_xticks(ticks, [f"{100 * (1 - 1 / level):g}%" for level in ticks])
    axes.set_xlabel("percentile")
    axes.set_ylabel("milliseconds")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_title(f"{histogram.count:,} statements")
    figure.savefig(path)
    pyplot.close(figure)
