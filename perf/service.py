"""What a request takes of a service that fans out 500 one-row reads for each.

The services of `examples/service`, each a process of its own with uvicorn, read from one void
server: through AsyncExecutor, by a semaphore of asyncio over `session.execute_async`, and by the
drivers' helper in a thread. So many clients call at once, over HTTP, each again as soon as it has
its answer. The services take turns, several times over; of each the requests a second, the 50th and
99th percentile of what a request took its client, and what it cost the service are shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import click
import httpx
import uvicorn

from concurrent_exec import CallbackExecutor, DirectExecutor
from concurrent_exec.connect import connect
from examples.service.app import CONCURRENCY, ByExecutor, Posts, service
from examples.service.by_helper import ByHelper
from examples.service.by_semaphore import BySemaphore
from examples.service.posts import AUTHORS, FOLLOWED, make_table
from perf import options, results
from perf.servers import Server, a_server, a_session

WAYS: dict[str, Callable[[Any], Posts]] = {
    "AsyncExecutor, DirectExecutor": lambda session: ByExecutor(
        DirectExecutor(session, concurrency=CONCURRENCY)
    ),
    "AsyncExecutor, CallbackExecutor": lambda session: ByExecutor(
        CallbackExecutor(session, concurrency=CONCURRENCY)
    ),
    "asyncio.Semaphore, execute_async": BySemaphore,
    "drivers' helper in a thread": ByHelper,
}
WARM_UP = 1
"""Rounds that do not count."""


def serve(way: str) -> None:
    """Be the service until standard input ends; say the port."""
    app = service(WAYS[way], partial(connect, compression=False))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

    def end_with_input() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_input, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        click.echo(listener.getsockname()[1])
        server.run(sockets=[listener])


class Service:
    """One of them, as its clients see it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._pid = process.pid
        self.url = f"http://127.0.0.1:{port}"

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken so far (Linux)."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def a_service(way: str, server: Server) -> Iterator[Service]:
    (host,), port = server.options.contact_points, server.options.port
    with subprocess.Popen(
        [sys.executable, "-m", "perf.service", "--serve", way],
        env={**os.environ, "CONCURRENT_EXEC_CONTACT_POINTS": f"{host}:{port}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for us
        text=True,
    ) as process:  # whose input is closed in the end
        assert process.stdout is not None
        port_or_nothing = process.stdout.readline()
        if not port_or_nothing:
            raise click.ClickException(f"{way} did not start; it has said above why")
        yield Service(process, int(port_or_nothing))


async def measure(service: Service, clients: int, requests: int) -> dict[str, float]:
    """Return what so many clients see that call so many times each."""
    seconds: list[float] = []

    async def client(http: httpx.AsyncClient, first: int) -> None:
        for number in range(requests):
            reader = (first + number) * FOLLOWED % AUTHORS
            start = perf_counter()
            response = await http.get(f"/feed/{reader}")
            seconds.append(perf_counter() - start)
            posts = json.loads(response.raise_for_status().content)
            assert len(posts) == FOLLOWED

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=300) as http:
        (await http.get("/health")).raise_for_status()
        cpu, start = service.cpu_seconds(), perf_counter()
        await asyncio.gather(*(client(http, number) for number in range(clients)))
        cpu, elapsed = service.cpu_seconds() - cpu, perf_counter() - start
    hundredths = quantiles(seconds, n=100, method="inclusive")
    return {
        "rate": len(seconds) / elapsed,
        "p50_ms": hundredths[49] * 1e3,
        "p99_ms": hundredths[98] * 1e3,
        "cpu_ms": cpu / len(seconds) * 1e3,
    }


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--clients", type=click.IntRange(min=2), default=50, show_default=True)
@click.option("--requests", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--serve", "way", type=click.Choice(list(WAYS)), hidden=True)
def main(
    folder: Path, quick: bool, clients: int, requests: int, rounds: int, way: str | None
) -> None:
    if way:
        serve(way)
        return
    if quick:
        clients, requests, rounds = min(clients, 5), 1, 1
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with a_server("void") as server, ExitStack() as opened:
        with a_session(server) as session:
            make_table(session)
        services = {name: opened.enter_context(a_service(name, server)) for name in WAYS}
        for round_number in range(WARM_UP + rounds):
            for name, one in services.items():
                figures = asyncio.run(measure(one, clients, requests))
                if round_number >= WARM_UP:
                    taken[name].append(figures)
    rows = []
    for name, goes in taken.items():
        row = {key: results.spread([go[key] for go in goes]) for key in goes[0]}
        rows.append({"way": name, "clients": clients, "requests": requests, **row})
        click.echo(
            f"  {name:34} {row['rate'][0]:7.1f} requests/s, p50 {row['p50_ms'][0]:7.1f} ms, "
            f"p99 {row['p99_ms'][0]:7.1f} ms, {row['cpu_ms'][0]:6.1f} ms of CPU"
        )
    click.echo(f"written: {results.save('service', rows, folder)}")


if __name__ == "__main__":
    main()
