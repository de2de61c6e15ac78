"""Draw the pictures and write the tables of docs/performance.md and the README from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from perf import options, results
from perf.ways import HELPER

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]
Documents = dict[str, dict[str, Any]]
"""What one script has saved, by driver."""

COLORS = {"cassandra-driver": "#2f6f9f", "scylla-driver": "#d08030"}
OWNERS = (
    ("driver", "#2f6f9f"),
    ("garbage collection", "#b03a2e"),
    ("sockets", "#7f8c8d"),
    ("ours: run", "#1e8449"),
    ("ours: executors", "#58d68d"),
    ("ours: sink", "#a9dfbf"),
    ("ours: drivers", "#d4efdf"),
    ("other", "#d5d8dc"),
)


def loaded(script: str, folder: Path) -> Documents:
    """Return what the script has saved, of each driver that it has run on."""
    found = {name: results.load(script, name, folder) for name in results.DRIVERS}
    return {name: document for name, document in found.items() if document is not None}


def rows(documents: Documents, driver: str, **wanted: Any) -> list[Row]:
    """Return the rows of the driver that have these values."""
    document = documents.get(driver, {"rows": []})
    return [
        row
        for row in document["rows"]
        if all(row.get(name) == value for name, value in wanted.items())
    ]


def only(documents: Documents, driver: str, **wanted: Any) -> Row | None:
    """Return the row of the driver that has these values, or None."""
    found = rows(documents, driver, **wanted)
    return found[0] if found else None


# --- pictures ---------------------------------------------------------------------------------


class Pictures:
    """Draws into SVG files of a folder."""

    def __init__(self, folder: Path) -> None:
        matplotlib = import_module("matplotlib")
        matplotlib.use("Agg")  # there may be no display
        # Text as text and fixed ids: small files that change only where a figure does.
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "concurrent_exec"})
        self._pyplot = import_module("matplotlib.pyplot")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _panels(self, count: int, width: float = 5.5, height: float = 4.5) -> tuple[Any, Any]:
        figure, axes = self._pyplot.subplots(
            1, count, figsize=(width * count, height), squeeze=False
        )
        return figure, axes[0]

    def _save(self, figure: Any, name: str) -> None:
        figure.tight_layout()
        figure.savefig(self._folder / f"{name}.svg", metadata={"Date": None})
        self._pyplot.close(figure)

    def ways(self, strategies: Documents) -> None:
        """CPU of each way, a panel for each workload, on the void server."""
        kinds = ("write", "read 1", "read 100")
        figure, panels = self._panels(len(kinds))
        for kind, panel in zip(kinds, panels, strict=True):
            names: list[str] = []
            for offset, driver in enumerate(strategies):
                found = rows(
                    strategies,
                    driver,
                    server="void",
                    workload=kind,
                    value_bytes=20,
                    concurrency=100,
                    timed=False,
                )
                names = [row["way"] for row in found] or names
                places = [place + 0.4 * offset for place in range(len(found))]
                medians = [row["cpu_us"][0] for row in found]
                # From the lowest round to the highest.
                below = [row["cpu_us"][0] - row["cpu_us"][1] for row in found]
                above = [row["cpu_us"][2] - row["cpu_us"][0] for row in found]
                panel.barh(
                    places,
                    medians,
                    height=0.4,
                    xerr=(below, above),
                    label=driver,
                    color=COLORS[driver],
                    error_kw={"linewidth": 0.8},
                )
            panel.set_yticks([place + 0.2 for place in range(len(names))], names, fontsize=8)
            panel.invert_yaxis()
            panel.set_title(f"{kind}, 20 bytes")
            panel.set_xlabel("client CPU, microseconds a statement")
            if panel is not panels[0]:
                panel.set_yticklabels([])
        panels[-1].legend(fontsize=8)
        self._save(figure, "ways")

    def concurrency(self, strategies: Documents) -> None:
        """Rate and latency over concurrency, for writes on each server."""
        for driver in strategies:
            figure, panels = self._panels(4, width=4.5)
            places = iter(panels)
            for server in ("void", "cassandra"):
                levels = rows(strategies, driver, server=server, workload="write", timed=True)
                rate, latency = next(places), next(places)
                for way in dict.fromkeys(row["way"] for row in levels):
                    mine = [row for row in levels if row["way"] == way]
                    at = [row["concurrency"] for row in mine]
                    style = {"marker": "o", "markersize": 3, "linewidth": 1, "label": way}
                    rate.plot(at, [row["rate"][0] for row in mine], **style)
                    latency.plot(at, [row["p99_ms"][0] for row in mine], **style)
                for panel, title in ((rate, "statements/s"), (latency, "p99, milliseconds")):
                    panel.set_xscale("log")
                    panel.set_yscale("log")
                    panel.set_xlabel("concurrency")
                    panel.set_title(f"{title} ({server})", fontsize=10)
            # Only one of the servers may have been measured.
            next((panel for panel in panels if panel.lines), panels[0]).legend(fontsize=7)
            self._save(figure, f"concurrency-{driver.removesuffix('-driver')}")

    def memory(self, documents: Documents) -> None:
        """The peak of each case."""
        figure, panels = self._panels(len(documents), height=3.5)
        for panel, driver in zip(panels, documents, strict=True):
            found = rows(documents, driver)
            names = [
                row["way"] + (", reader stops" if row["reader"] == "stops" else "") for row in found
            ]
            bars = panel.barh(names, [row["peak_mib"] for row in found], color=COLORS[driver])
            labels = [f"{row['peak_mib']:,.0f} {row['failure']}" for row in found]
            panel.bar_label(bars, labels, fontsize=7, padding=2)
            panel.invert_yaxis()
            panel.tick_params(labelsize=8)
            panel.margins(x=0.3)
            panel.set_title(f"{driver}: peak MiB, {found[0]['statements']:,} inserts", fontsize=10)
        self._save(figure, "memory")

    def growth(self, documents: Documents) -> None:
        """CPU a statement over the number of statements, of columns and of rows."""
        axes = ("statements", "columns", "rows")
        figure, panels = self._panels(len(axes) * len(documents), width=4.5)
        places = iter(panels)
        for driver in documents:
            for axis in axes:
                panel = next(places)
                found = rows(documents, driver, over=axis)
                for way in dict.fromkeys(row["way"] for row in found):
                    line = [row for row in found if row["way"] == way]
                    panel.plot(
                        [row[axis] for row in line],
                        [row["cpu_us"][0] for row in line],
                        marker="o",
                        markersize=3,
                        label=way,
                    )
                panel.set_xscale("log")
                panel.set_xlabel(axis)
                panel.set_ylim(bottom=0)
                panel.set_title(f"{driver}: CPU us a statement", fontsize=10)
        panels[0].legend(fontsize=7)
        self._save(figure, "growth")

    def hotspots(self, documents: Documents) -> None:
        """Where the microseconds go: the samples' shares of the CPU that was measured."""
        figure, panels = self._panels(len(documents), width=7, height=4)
        for panel, driver in zip(panels, documents, strict=True):
            found = rows(documents, driver)
            names = [f"{row['way']}: {row['workload']}" for row in found]
            left = [0.0] * len(found)
            known = {name for name, _ in OWNERS}
            for owner, color in OWNERS:
                widths = []
                for row in found:
                    share = row["shares"].get(owner, 0.0)
                    if owner == "other":
                        share += sum(s for name, s in row["shares"].items() if name not in known)
                    widths.append(share * row["cpu_us"])
                panel.barh(names, widths, left=left, label=owner, color=color)
                left = [start + width for start, width in zip(left, widths, strict=True)]
            panel.invert_yaxis()
            panel.tick_params(labelsize=8)
            panel.set_title(f"{driver}: CPU us a statement while watched", fontsize=10)
        panels[-1].legend(fontsize=7)
        self._save(figure, "hotspots")


# --- tables -----------------------------------------------------------------------------------


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown, its first column to the left, the others to the right."""
    names = list(head)
    rule = ["---", *["---:"] * (len(names) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rule, *lines))


def _cpu(row: Row | None) -> str:
    if row is None:
        return ""
    ratio = f" ({row['cpu_ratio'][0]:.2f})" if row["way"] != HELPER else ""
    failed = f", {row['failed']} failed" if row["failed"] else ""
    return f"{row['cpu_us'][0]:.1f}{ratio}{failed}"


def _rate(row: Row | None) -> str:
    if row is None:
        return ""
    ratio = f" ({row['rate_ratio'][0]:.1f})" if row["way"] != HELPER else ""
    return f"{row['rate'][0]:,.0f}{ratio}"


def _ways(strategies: Documents) -> list[str]:
    return list(dict.fromkeys(row["way"] for one in strategies.values() for row in one["rows"]))


def readme_table(strategies: Documents) -> str:
    """The ways beside each other: what a reader of the README wants to know."""
    at = {"value_bytes": 20, "concurrency": 100, "timed": False}
    head = ["way"]
    for driver in strategies:
        head += [f"{driver}: write", "statements/s", "read"]
    lines = []
    for way in _ways(strategies):
        line = [f"`{way}`" if "Executor" in way else way]
        for driver in strategies:
            wanted = {"way": way, **at}
            line += [
                _cpu(only(strategies, driver, server="void", workload="write", **wanted)),
                _rate(only(strategies, driver, server="cassandra", workload="write", **wanted)),
                _cpu(only(strategies, driver, server="void", workload="read 1", **wanted)),
            ]
        lines.append(line)
    return table(head, lines)


def full_tables(strategies: Documents) -> Iterator[str]:
    """All that was measured at the one concurrency, a table for each driver and server."""
    for driver, document in strategies.items():
        for server in ("void", "cassandra"):
            at = {"server": server, "concurrency": 100, "timed": False}
            found = rows(strategies, driver, **at)
            kinds = dict.fromkeys((row["workload"], row["value_bytes"]) for row in found)
            if not kinds:
                continue
            lines = []
            for way in _ways({driver: document}):
                cells = [
                    only(
                        strategies,
                        driver,
                        way=way,
                        workload=kind,
                        value_bytes=size,
                        **at,
                    )
                    for kind, size in kinds
                ]
                lines.append([way, *map(_cpu, cells)])
            yield f"CPU microseconds a statement, {driver}, server `{server}` (of the helper's):\n"
            yield table(["way", *(f"{kind}, {size} B" for kind, size in kinds)], lines) + "\n"


def goals(measured: Documents, memory: Documents) -> str:
    """What was asked for beside what was measured, on the void server unless it says otherwise."""
    lines = []

    def goal(
        text: str,
        bound: float,
        value: Callable[[str], float | None],
        unit: str = "",
        *,
        least: bool = False,
        scylla: float | None = None,
    ) -> None:
        other = "" if scylla is None else f" (scylla-driver {scylla:g})"
        cells = [text, f"at {'least' if least else 'most'} {bound:g}{unit}{other}"]
        for driver in measured:
            found = value(driver)
            own = scylla if scylla is not None and driver == "scylla-driver" else bound
            if found is None:
                cells.append("not measured")
            else:
                met = found >= own if least else found <= own
                cells.append(f"{found:.2f}{unit}" if met else f"**{found:.2f}{unit}**")
        lines.append(cells)

    def row(driver: str, way: str, workload: str, server: str = "void") -> Row | None:
        return only(
            measured,
            driver,
            server=server,
            workload=workload,
            value_bytes=20,
            concurrency=100,
            timed=False,
            way=way,
        )

    def ratio(way: str, to: str, workload: str = "write") -> Callable[[str], float | None]:
        def value(driver: str) -> float | None:
            mine, theirs = row(driver, way, workload), row(driver, to, workload)
            if mine is None or theirs is None:
                return None
            # Both have ratios to the same goes, so this one is within the rounds too.
            return float(mine["cpu_ratio"][0] / theirs["cpu_ratio"][0])

        return value

    def above(way: str, to: str) -> Callable[[str], float | None]:
        def value(driver: str) -> float | None:
            mine, theirs = row(driver, way, "write"), row(driver, to, "write")
            if mine is None or theirs is None:
                return None
            return float(mine["cpu_us"][0] - theirs["cpu_us"][0])

        return value

    def rate(way: str, workload: str) -> Callable[[str], float | None]:
        def value(driver: str) -> float | None:
            found = row(driver, way, workload, "cassandra")
            return None if found is None else float(found["rate_ratio"][0])

        return value

    def peak(driver: str) -> float | None:
        found = only(memory, driver, way="CallbackExecutor, list", reader="prompt")
        return None if found is None else float(found["peak_mib"] * 2**20 / 1e6)

    callback, thread = "CallbackExecutor, ", "ThreadExecutor, "
    generator, chain = "drivers' helper, generator", "bare chain, cycle broken"
    pool = "ThreadPoolExecutor.map"
    goal("inserts as a list, CPU of the helper's list", 0.65, ratio(callback + "list", HELPER))
    goal("inserts as a stream, of its list", 0.85, ratio(callback + "stream", HELPER))
    goal("inserts as a stream, of its generator", 0.85, ratio(callback + "stream", generator))
    goal("reads of one row, of its list", 0.45, ratio(callback + "list", HELPER, "read 1"))
    goal("a list above the bare chain, cycle broken", 10, above(callback + "list", chain), " us")
    goal("a stream above it", 10, above(callback + "stream", chain), " us")
    goal("ThreadExecutor, list, of ThreadPoolExecutor.map", 0.8, ratio(thread + "list", pool))
    goal("ThreadExecutor, stream, of it", 0.8, ratio(thread + "stream", pool))
    goal("peak of a list of 1,000,000", 400, peak, " MB")
    replicas, partition = "BatchExecutor, replica_set, list", "BatchExecutor, partition_key, list"
    goal(f"{replicas}: statements/s on Cassandra", 5, rate(replicas, "write"), least=True)
    stream = "BatchExecutor, replica_set, stream"
    goal(f"{stream}: the same", 5, rate(stream, "write"), least=True)
    goal(f"{partition}: the same, 50 rows a partition", 5, rate(partition, "write 50"), least=True)
    direct, joined = "DirectExecutor, list", "DirectExecutor, coalescing"
    goal(f"{direct}: inserts, CPU of the helper's list", 0.2, ratio(direct, HELPER), scylla=0.25)
    reads = ratio(direct, HELPER, "read 1")
    goal(f"{direct}: reads of one row, of it", 0.12, reads, scylla=0.2)
    goal(f"{direct}: statements/s of inserts on Cassandra", 4, rate(direct, "write"), least=True)
    goal(f"{direct}: of reads of one row there", 4, rate(direct, "read 1"), least=True)
    goal(f"{joined}: inserts, CPU of the helper's list", 0.1, ratio(joined, HELPER))
    goal(f"{joined}: reads of one row, of it", 0.1, ratio(joined, HELPER, "read 1"))
    goal(f"{joined}: inserts, CPU of acsylla's", 1, ratio(joined, "acsylla by hand"))
    goal(f"{replicas}: the same", 1, ratio(replicas, "acsylla by hand"))
    goal(f"{joined}: reads, of acsylla's", 1, ratio(joined, "acsylla by hand", "read 1"))
    return table(["CallbackExecutor unless named", "goal", *measured], lines)


def loader_tables(loaders: Documents) -> Iterator[str]:
    """The command beside other loaders, a table for each driver and file."""
    for driver, document in loaders.items():
        files = dict.fromkeys((row["file"], row["records"]) for row in document["rows"])
        for file, records in files:
            found = rows(loaders, driver, file=file, records=records)
            lines = [
                [
                    row["way"],
                    f"{row['rate'][0]:,.0f} ({row['rate_ratio'][0]:.1f})",
                    f"{row['cpu_seconds'][0]:.1f} ({row['cpu_seconds_ratio'][0]:.2f})",
                    f"{row['server_cpu_seconds'][0]:.1f}" if "server_cpu_seconds" in row else "",
                    f"{row['peak_mib'][0]:,.0f}",
                    f"{row['lost']:,}",
                ]
                for row in found
            ]
            yield f"{records:,} records of `{file}`, {driver}:\n"
            head = ["loader", f"rows/s (of {found[0]['way']}'s)", "CPU s (of its)"]
            yield table([*head, "server's CPU s", "peak MiB", "lost"], lines) + "\n"


def origin(documents: Documents) -> str:
    """Say where the figures come from."""
    one = next(iter(documents.values()))
    machine, versions = one["machine"], {}
    for document in documents.values():
        versions.update(document["versions"])
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    loads = " and ".join(str(document["load_average"][0]) for document in documents.values())
    return (
        f"From `{one['command']}`, {one['finished'][:10]}: {machine['cores']} cores of a "
        f"{machine['processor']}, shared with the servers and with other work (load average "
        f"{loads} at the end), {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {told}."
    )


def put_between_marks(file: Path, name: str, text: str) -> None:
    """Replace what stands between the two comments of that name in a Markdown file."""
    begin, end = f"<!-- {name}: made by make perf -->", f"<!-- {name}: end -->"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise click.ClickException(f"{file} lacks the comments {begin} and {end}")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
def main(folder: Path, quick: bool) -> None:
    strategies = loaded("strategies", folder)
    if not strategies:
        raise click.ClickException(f"{folder} has no results: run the other scripts first")
    memory = loaded("memory", folder)
    kept = folder == results.FOLDER
    pictures = Pictures(ROOT / "docs" / "perf" if kept else folder)
    pictures.ways(strategies)
    pictures.concurrency(strategies)
    for documents, draw in (
        (memory, pictures.memory),
        (loaded("growth", folder), pictures.growth),
        (loaded("hotspots", folder), pictures.hotspots),
    ):
        if documents:
            draw(documents)
    measured = loaded("goals", folder) or strategies
    way_table = f"{readme_table(measured)}\n\n{origin(measured)}"
    goal_table = f"{goals(measured, memory)}\n\n{origin(measured)}"
    click.echo(f"{way_table}\n\n{goal_table}")
    if kept:
        put_between_marks(ROOT / "README.md", "ways", way_table)
        details = ROOT / "docs" / "performance.md"
        put_between_marks(details, "goals", goal_table)
        put_between_marks(details, "tables", "\n".join(full_tables(strategies)))
        loaders = loaded("loaders", folder)
        if loaders:
            told = "\n".join([*loader_tables(loaders), origin(loaders)])
            put_between_marks(details, "loaders", told)


if __name__ == "__main__":
    main()
