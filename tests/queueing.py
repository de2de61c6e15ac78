"""A model of a cluster as queues, and of a client that keeps as much in flight as it may.

`python -m tests.queueing [SEED [NUMBER]]` prints how limiters do on many drawn servers, beside the
best fixed concurrency of each; docs/pacing.md quotes it.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from heapq import heappop, heappush, heapreplace
from itertools import count
from math import exp, inf
from random import Random
from typing import Literal

from concurrent_exec import Limiter
from concurrent_exec.model import Outcome
from concurrent_exec.pacing import AdaptiveConcurrency

Jitter = Literal["none", "exponential", "lognormal"]

SLOWEST = 20.0
"""A thrashing node serves its statements slower by this factor at most."""
BORNE = 0.02
"""A fixed level with more overloads than this share is none that the server can bear."""


@dataclass(frozen=True)
class Server:
    """What a cluster is like.

    rate: statements a second that all nodes serve together at most.
    latency: seconds on the network, there and back.
    nodes: each has a queue of its own, in the order of arrival; a statement goes to any of them.
    workers: statements that a node serves at a time.
    jitter: how service times are distributed about their mean; lognormal is with sigma = 1.
    cliff: with more statements than this at a node it thrashes: it slows down by the third power
        of the excess.
    queue: a node refuses what would be more than this in its queue, and says so at once.
    timeout: seconds after which the client gives up; the server does the work all the same.
    """

    rate: float
    latency: float
    nodes: int = 1
    workers: int = 1
    jitter: Jitter = "exponential"
    cliff: int | None = None
    queue: int | None = None
    timeout: float | None = None

    @property
    def service(self) -> float:
        """Mean seconds that a worker needs for a statement."""
        return self.nodes * self.workers / self.rate

    @property
    def unloaded(self) -> float:
        """Mean seconds of a round trip that waits in no queue."""
        return self.latency + self.service

    @property
    def knee(self) -> float:
        """The concurrency that would keep all workers busy if nothing ever had to wait."""
        return self.rate * self.unloaded


class Queues:
    """The state of a server's queues; `server` may be replaced while it is in use."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self._random = Random(seed)
        self._free = [[0.0] * server.workers for _ in range(server.nodes)]
        self._ends: list[list[float]] = [[] for _ in range(server.nodes)]

    def send(self, now: float) -> tuple[float, bool]:
        """Take a statement that is sent at `now`; return when its answer comes, and if it is good.

        Nobody overtakes on the way there, so what happens to it is known when it is sent.
        """
        server = self.server
        arrival = now + server.latency / 2
        node = int(self._random.random() * server.nodes)
        free, ends = self._free[node], self._ends[node]
        while ends and ends[0] <= arrival:
            heappop(ends)
        here = len(ends) + 1
        if server.queue is not None and here > server.workers + server.queue:
            return now + server.latency, False
        service = server.service
        if server.jitter == "exponential":
            service *= self._random.expovariate(1.0)
        elif server.jitter == "lognormal":
            service *= exp(self._random.gauss(-0.5, 1.0))
        if server.cliff is not None and here > server.cliff:
            service *= min((here / server.cliff) ** 3, SLOWEST)
        end = max(free[0], arrival) + service
        heapreplace(free, end)
        heappush(ends, end)
        answer = end + server.latency / 2
        if server.timeout is not None and answer - now > server.timeout:
            return now + server.timeout, False
        return answer, True


class Fixed:
    """A limit that stays what it is."""

    def __init__(self, limit: int) -> None:
        self.limit = self.max_limit = limit

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Learn nothing."""


@dataclass(frozen=True)
class Mark:
    """How things stood at a moment."""

    time: float
    settled: int
    successes: int
    seconds: float
    """Of all round trips together."""
    limit: int


@dataclass(frozen=True)
class Stretch:
    """What lay between two marks."""

    start: Mark
    end: Mark

    @property
    def throughput(self) -> float:
        """Successes a second."""
        return (self.end.successes - self.start.successes) / (self.end.time - self.start.time)

    @property
    def failed(self) -> float:
        """The share that failed."""
        settled = self.end.settled - self.start.settled
        return 1 - (self.end.successes - self.start.successes) / settled

    @property
    def round_trip(self) -> float:
        """Mean seconds."""
        settled = self.end.settled - self.start.settled
        return (self.end.seconds - self.start.seconds) / settled


def play(
    server: Server | Sequence[tuple[int, Server]],
    limiter: Limiter,
    statements: int,
    *,
    seed: int = 1,
    marks: int = 100,
    demand: float = inf,
) -> list[Mark]:
    """Send so many statements, each as soon as the limit allows; return how it went.

    server: the server, or several, each with the number of answers from which on it is in place.
    marks: how many marks to take, evenly spread over the statements, besides that of the start.
    demand: the application wants no more than this in flight.
    """
    servers = [(0, server)] if isinstance(server, Server) else list(server)
    changes = servers[1:]
    queues = Queues(servers[0][1], seed)
    answers: list[tuple[float, int, float, int, bool]] = []
    number = count()
    now = seconds = 0.0
    in_flight = settled = successes = 0
    taken = [Mark(0.0, 0, 0, 0.0, limiter.limit)]
    while settled < statements:
        while in_flight < limiter.limit and in_flight < demand:
            in_flight += 1
            answer, success = queues.send(now)
            heappush(answers, (answer, next(number), now, in_flight, success))
        now, _, sent, beside, success = heappop(answers)
        in_flight -= 1
        settled += 1
        successes += success
        seconds += now - sent
        if hasattr(limiter, "settled_many"):
            limiter.settled_many(successes=int(success), overloads=int(not success), now=now)
        else:
            limiter.settled(
                seconds=now - sent, in_flight=beside, outcome="success" if success else "overload"
            )
        if changes and settled >= changes[0][0]:
            queues.server = changes.pop(0)[1]
        if settled * marks >= len(taken) * statements:
            taken.append(Mark(now, settled, successes, seconds, limiter.limit))
    return taken


def last(marks: Sequence[Mark], share: float) -> Stretch:
    """Return the last `share` of a play."""
    return Stretch(marks[-1 - round(share * (len(marks) - 1))], marks[-1])


@cache
def best_fixed(server: Server, *, top: int = 1000, statements: int = 40_000) -> tuple[int, Stretch]:
    """Try fixed levels up to `top`; return the best of those that the server can bear.

    Of those within 1 % of the best throughput it is the lowest. What it is worth is measured in
    a play of its own, of so many statements: the best of many noisy figures is too good.
    """
    levels = [1]
    while levels[-1] < top:
        levels.append(min(top, max(levels[-1] + 1, int(levels[-1] * 1.25))))
    tried: list[tuple[int, float]] = []
    for level in levels:
        found = last(play(server, Fixed(level), max(5_000, 6 * level), seed=7), 0.7)
        if found.failed <= BORNE or not tried:
            tried.append((level, found.throughput))
        most = max(throughput for _, throughput in tried)
        if found.failed > 0.3 or (level > 8 and found.throughput < most / 2):
            break
    level = min(level for level, throughput in tried if throughput >= 0.99 * most)
    return level, last(play(server, Fixed(level), statements, seed=8), 0.6)


def drawn_servers(seed: int, number: int) -> list[Server]:
    """Draw servers of every kind; those with a cliff have one queue.

    (With several, a fixed concurrency is a gamble itself: once one node thrashes, all that is in
    flight gathers there.)
    """
    random = Random(seed)
    return [_drawn_server(random) for _ in range(number)]


def _drawn_server(random: Random) -> Server:
    jitters: tuple[Jitter, ...] = ("none", "exponential", "lognormal")
    server = Server(
        rate=50 * 1000 ** random.random(),
        latency=0.0002 * 1000 ** random.random(),
        nodes=random.choice([1, 1, 3, 6]),
        workers=random.choice([1, 2, 8, 32]),
        jitter=random.choice(jitters),
    )
    kind = random.choice(["plain", "plain", "cliff", "queue", "timeout"])
    if kind == "cliff":
        server = replace(server, nodes=1)
        return replace(server, cliff=4 + int(server.knee * random.choice([1, 2, 4])))
    if kind == "queue":
        queue = 16 + int(server.knee / server.nodes * random.choice([0.5, 1, 4]))
        return replace(server, queue=queue)
    if kind == "timeout":
        return replace(server, timeout=6 * (server.latency + 3 * server.service))
    return server


def restless(server: Server, statements: int, seed: int) -> list[tuple[int, Server]]:
    """Return the server as it is on a busy machine: at times its rate falls to as little as 0.15.

    Each spell lasts 20 to 200 answers; one in fifty is a standstill, as for a garbage collection.
    """
    random = Random(seed)
    spells = [(0, server)]
    while spells[-1][0] < statements:
        start = spells[-1][0] + random.randint(20, 200)
        share = random.choice((1.0, 1.0, 0.7, 0.4, 0.15))
        spells.append((start, replace(server, rate=server.rate * share)))
        if random.random() < 0.02:
            spells.append((start + 20, replace(server, rate=server.rate / 300)))
            spells.append((start + 25, server))
    return spells


@dataclass(frozen=True)
class Verdict:
    """How a limiter did on a server, beside the best fixed concurrency."""

    server: Server
    best: int
    throughput: float
    """As a share of the best."""
    round_trip: float
    """As a multiple of the best's."""
    limit: float
    """The mean limit, as a multiple of the best."""


def judge(limiter: Limiter, server: Server, best: int, beside: Stretch, seed: int) -> Verdict:
    """Play 40,000 statements and judge the last 60 % of them."""
    marks = play(server, limiter, 40_000, seed=seed)
    found = last(marks, 0.6)
    limits = [mark.limit for mark in marks[len(marks) * 2 // 5 :]]
    return Verdict(
        server,
        best,
        found.throughput / beside.throughput,
        found.round_trip / beside.round_trip,
        statistics.fmean(limits) / best,
    )


class Gradient2:
    """Netflix's Gradient2Limit with its defaults, except for 1 to 1000; a window a round trip."""

    def __init__(self) -> None:
        self.limit, self.max_limit = 20, 1000
        self._level, self._slow, self._windows = 20.0, 0.0, 0
        self._count, self._seconds, self._beside = 0, 0.0, 0

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt."""
        self._count += 1
        self._seconds += seconds
        self._beside = max(self._beside, in_flight)
        if self._count < max(10, self.limit):
            return
        fast, beside = self._seconds / self._count, self._beside
        self._count, self._seconds, self._beside = 0, 0.0, 0
        self._windows += 1
        weight = 1 / self._windows if self._windows < 10 else 2 / 601
        self._slow += (fast - self._slow) * weight
        if self._slow > 2 * fast:
            self._slow *= 0.95
        if beside >= self._level / 2:
            gradient = max(0.5, min(1.0, 1.5 * self._slow / fast))
            self._level += 0.2 * (self._level * gradient + 4 - self._level)
            self._level = max(1.0, min(1000.0, self._level))
            self.limit = int(self._level)


class Vegas:
    """Netflix's VegasLimit with its defaults; a window a round trip."""

    def __init__(self) -> None:
        self.limit, self.max_limit = 20, 1000
        self._shortest, self._windows = inf, 0
        self._count, self._seconds, self._beside, self._dropped = 0, 0.0, 0, False

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt."""
        self._count += 1
        self._seconds += seconds
        self._beside = max(self._beside, in_flight)
        self._dropped |= outcome == "overload"
        if self._count < max(10, self.limit):
            return
        found, beside, dropped = self._seconds / self._count, self._beside, self._dropped
        self._count, self._seconds, self._beside, self._dropped = 0, 0.0, 0, False
        self._windows += 1
        if self._windows % 30 == 0 or found < self._shortest:
            self._shortest = found
            return
        step = max(1, len(str(self.limit)) - 1)
        queue = self.limit * (1 - self._shortest / found)
        if dropped or (queue > 6 * step and beside * 2 >= self.limit):
            self.limit -= step
        elif beside * 2 >= self.limit and queue < 3 * step:
            self.limit += 6 * step if queue <= step else step
        self.limit = max(1, min(1000, self.limit))


class AIMD:
    """Netflix's AIMDLimit with its defaults, except for 1 to 1000."""

    def __init__(self) -> None:
        self.limit, self.max_limit = 20, 1000

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt."""
        if outcome == "overload":
            self.limit = max(1, int(self.limit * 0.9))
        elif in_flight * 2 >= self.limit:
            self.limit = min(1000, self.limit + 1)


def summary(verdicts: Iterable[Verdict]) -> str:
    """Return the figures of a sweep in a line."""
    verdicts = list(verdicts)
    shares = sorted(verdict.throughput for verdict in verdicts)
    trips = sorted(verdict.round_trip for verdict in verdicts)
    reached = sum(share >= 0.95 for share in shares)
    return (
        f"{reached} of {len(shares)} reach 0.95; worst {shares[0]:.3f}, 5 % at most "
        f"{shares[len(shares) // 20]:.3f}, median {statistics.median(shares):.3f}; round trip: "
        f"median {statistics.median(trips):.2f}, 5 % at least {trips[-1 - len(trips) // 20]:.2f}, "
        f"worst {trips[-1]:.1f}"
    )


def main(seed: int = 12, number: int = 200) -> None:
    """Print the sweep."""
    servers = drawn_servers(seed, number)
    bests = [best_fixed(server) for server in servers]
    for kind in (AdaptiveConcurrency, Gradient2, Vegas, AIMD):
        verdicts = [
            judge(kind(), server, *best, seed=turn)
            for turn, (server, best) in enumerate(zip(servers, bests, strict=True))
        ]
        print(f"{kind.__name__}")
        for name, cliff in (("no cliff", False), ("a cliff", True)):
            kin = [each for each in verdicts if (each.server.cliff is not None) is cliff]
            print(f"  {name}: {summary(kin)}")
        for verdict in sorted(verdicts, key=lambda each: each.throughput)[:8]:
            print(
                f"    {verdict.throughput:.3f} of level {verdict.best}, limit {verdict.limit:.2f}, "
                f"round trip {verdict.round_trip:.2f}: {verdict.server}"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
