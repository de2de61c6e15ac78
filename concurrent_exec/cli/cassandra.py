"""`concurrent-exec cassandra`: a real Cassandra on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from concurrent_exec.cluster import (
    AlreadyRunningError,
    ClusterError,
    LocalCassandra,
    NodeStatus,
    default_directory,
)

from .group import SuggestingGroup

_NOT_RUNNING = 3

_directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_directory,
    help="Where data, configuration and logs are. [default: in the user's state folder, "
    "~/.local/state/concurrent-exec/cassandra]",
)


@click.group(cls=SuggestingGroup)
def cassandra() -> None:
    """A real Apache Cassandra on this machine.

    It needs a JDK (11 or 17) and, for the first start, Maven. It listens on loopback addresses
    only: nobody else reaches it over the network.

    \b
    Examples:
      concurrent-exec cassandra start --nodes 3
      export CONCURRENT_EXEC_CONTACT_POINTS=$(concurrent-exec cassandra start)
      concurrent-exec cassandra stop --keep-data
    """


@cassandra.command()
@click.option(
    "--nodes", metavar="N", type=click.IntRange(min=1), help="How many nodes. [default: 1]"
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="The port of CQL, on each node. [default: 9042]",
)
@click.option(
    "--first-address",
    metavar="ADDRESS",
    help="The first node's loopback address; the others follow. [default: 127.0.0.1]",
)
@click.option(
    "--heap",
    metavar="SIZE",
    help="Java heap of each node, as 768M or 2G. [default: 1G for one node, 768M for several]",
)
@_directory_option
def start(
    nodes: int | None,
    port: int | None,
    first_address: str | None,
    heap: str | None,
    directory: Path,
) -> None:
    """Start Cassandra and print its contact points.

    Waits until every node answers. The nodes go on running after this command; `stop` ends them.
    If they run already, this says so and prints the same. What was stopped with --keep-data goes
    on with its data. The first time, Cassandra is fetched from Maven Central into the user's
    cache folder.
    """
    found = LocalCassandra.find(directory)
    if found is not None:
        kept = found.state
        nodes = len(kept.addresses) if nodes is None else nodes
        port = kept.port if port is None else port
        first_address = kept.addresses[0] if first_address is None else first_address
        heap = f"{kept.heap >> 20}M" if heap is None and nodes == len(kept.addresses) else heap
    try:
        wanted = LocalCassandra(
            nodes or 1,
            directory=directory,
            port=port or 9042,
            first_address=first_address or "127.0.0.1",
            heap=heap,
            outlive_parent=True,
            report=_say,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with _interrupted_by_any_signal():
        try:
            wanted.start()
        except AlreadyRunningError:
            _join_running(wanted)
    click.echo(",".join(f"{address}:{wanted.port}" for address in wanted.contact_points))


@cassandra.command()
@click.option("--keep-data", is_flag=True, help="Keep the folder, for a later start.")
@_directory_option
def stop(keep_data: bool, directory: Path) -> None:
    """Stop what `start` started; remove its folder.

    No other process is touched, whatever its name.
    """
    found = LocalCassandra.find(directory, report=_say)
    if found is None:
        _say(f"nothing to stop in {directory}")
        return
    running = sum(node.is_running for node in found.nodes)
    found.stop(keep_data=keep_data)
    what = "kept its data in" if keep_data else "removed"
    _say(f"stopped {running} of {len(found.nodes)} node(s), {what} {directory}")


@cassandra.command()
@_directory_option
@click.pass_context
def status(context: click.Context, directory: Path) -> None:
    """Tell whether each node runs and answers.

    Exit status: 0 if all nodes answer, 3 if not.
    """
    found = LocalCassandra.find(directory)
    if found is None:
        click.echo(f"not running (nothing in {directory})")
        context.exit(_NOT_RUNNING)
    states = [node.status for node in found.nodes]
    for node, state in zip(found.nodes, states, strict=True):
        pid = "" if node.pid is None else f"  process {node.pid}"
        click.echo(f"{node.contact_point}  {state.value}{pid}")
    click.echo(f"in {directory}")
    if any(state is not NodeStatus.RUNNING for state in states):
        context.exit(_NOT_RUNNING)


def _join_running(wanted: LocalCassandra) -> None:
    """Make sure that the cluster that already runs is the one wanted, and that all of it runs."""
    found = LocalCassandra.find(wanted.directory, report=_say)
    if found is None:
        raise ClusterError(f"the Cassandra in {wanted.directory} was just stopped; try again")
    if (found.contact_points, found.port) != (wanted.contact_points, wanted.port):
        points = ", ".join(node.contact_point for node in found.nodes)
        raise ClusterError(
            f"another Cassandra is already running in {wanted.directory} ({points}): "
            "stop it first, or give another --directory"
        )
    found.start_missing()
    _say(f"Cassandra is already running in {wanted.directory}")


@contextmanager
def _interrupted_by_any_signal() -> Iterator[None]:
    """Clean up after SIGTERM and a closed terminal as after Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        # A command under nohup shall go on without its terminal.
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    click.echo(line, err=True)
