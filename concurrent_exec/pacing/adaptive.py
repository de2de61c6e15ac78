"""A limit that finds the concurrency that a cluster can bear."""

from __future__ import annotations

from collections import deque
from math import exp, inf, log, sqrt
from operator import attrgetter
from threading import Lock

from concurrent_exec.model.options import positive_int
from concurrent_exec.model.protocols import Outcome
from concurrent_exec.pacing._ceiling import Ceiling
from concurrent_exec.pacing._overload import OverloadAlarm
from concurrent_exec.pacing._window import Measurement, Window, elasticity

TARGET = 0.1
"""The elasticity that is aimed at: there, 10 % more in flight bring 1 % more throughput."""

SPREAD = 1.25
"""The factor between the two levels that are compared; BBR probes by the same."""

FAR = 2.0
"""The same while there seems to be a queue: what is further apart stands out more from chance."""

QUEUE = 2.0
"""There seems to be one when round trips are longer by this factor than the shortest ..."""

RECENT = 50
"""... of so many windows, while the elasticity of late is below its target; ..."""

NEWS = 0.2
"""... that is its average, in which the newest has this weight."""

GAIN = 0.075
"""By how much the logarithm of the level moves for an elasticity that is off target by 1."""

FASTEST = 2.0
"""Steps that go on in one direction are doubled, up to this factor."""

STEEPEST = 1.0
"""An elasticity beyond this, up or down, counts no more than it: so noise pulls neither way."""

DOUBLING = 0.5
"""The level is doubled, at the start, while the elasticity is at least this."""

SAMPLES = 100
"""Attempts that a window has at least: the mean of fewer says too little."""

ROUND_TRIPS = 2
"""Round trips that a window has at least, each as many attempts as may be in flight."""

MEMORY = 10
"""Windows of which the best is what is normal; BBR's filter remembers as many round trips."""

SLOW = 4.0
"""Round trips that are longer by this factor than the level explains are a bad sign, ..."""

SLOW_WINDOWS = 3
"""... and after so many such windows on end a far lower level is tried."""

RETREAT = 4
"""By what the level is divided then."""

RELIEF = 1.5
"""Throughput that grows by this factor with so much less in flight is the proof of thrashing."""

REST = 6
"""Windows between two comparisons while nothing but its upper bound holds the level."""

_throughput = attrgetter("throughput")


class AdaptiveConcurrency:
    """A `Limiter` that goes where more in flight would hardly bring more throughput.

    It keeps comparing two levels of concurrency, `SPREAD` apart, by their throughput:

        elasticity = log(throughput2 / throughput1) / log(concurrency2 / concurrency1)

    Far below what the cluster can bear the elasticity is 1; where all else would only wait in a
    queue it is 0; off a cliff it is negative. Both levels follow its sign:

        level = level * exp(GAIN * (elasticity - TARGET))

    Where the elasticity is `TARGET`, Kleinrock's power in its general form, throughput ** r /
    round trip with r = 1 / TARGET - 1, is at its most (L. Kleinrock, "Power and Deterministic
    Rules of Thumb for Probabilistic Problems in Computer Communications", 1979). That throughput
    is probed at two rates, and that steps in one direction grow, is taken from PCC (M. Dong et
    al., NSDI 2015, and "Vivace", NSDI 2018). There is no estimate of a round trip without load,
    as Gradient2, Vegas and BBR need it, so there is none to become wrong.

    Deep in a queue the elasticity is 0, and what chance adds to it is larger than the target: the
    level would wander. While round trips are long beside the shortest of late, and more in flight
    has not been worth it on average, the lower of the two levels is therefore `FAR` away, which
    costs nothing there, and shows three times as much. Round trips that were short for another
    reason only make it look further down than it need.

    - At the start, and when it comes back, it doubles the level until that brings less than half
      of what it might, as TCP's slow start does; by one more for each answer, so in no burst.
    - On overload it halves (D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease
      Algorithms for Congestion Avoidance in Computer Networks", 1989), once for all that was sent
      before it did. Then a ceiling keeps it below that level for some time; see
      `concurrent_exec.pacing._ceiling`.
    - When round trips stay longer than the level explains it tries a quarter of the level. If
      throughput grows by that the cluster was thrashing, and the ceiling is for this too; if not
      it returns at once. Nothing is held against a level for having become slow there: on a
      busy machine that happens at any.
    - It learns nothing while the application has less than half of the limit in flight.

    It has no clock; time is counted in attempts. One of these serves one executor.
    """

    def __init__(self, initial: int = 20, min: int = 1, max: int = 1000) -> None:
        """Make a limiter.

        initial: how many statements may be in flight at first.
        min: the fewest that it will ever allow.
        max: the most that it will ever allow.

        Raises TypeError if one of them is no whole number, and ValueError unless
        1 <= `min` <= `initial` <= `max`.
        """
        self._min = positive_int("min", min)
        self._max = positive_int("max", max)
        initial = positive_int("initial", initial)
        if self._max < self._min:
            raise ValueError(f"max must be at least min, which is {min}, not {max}")
        if not self._min <= initial <= self._max:
            raise ValueError(f"initial must be from min to max, {min} to {max}, not {initial}")
        self._lock = Lock()
        self._limit = initial
        self._aim = initial
        """Where the limit goes, by one for each answer."""
        self._level = float(initial)
        self._ceiling = Ceiling()
        self._alarm = OverloadAlarm()
        self._starting = True
        """Whether the level is being doubled."""
        self._high = False
        """Whether the window is at the higher of the two levels."""
        self._rest = 0
        """How many windows to let pass before the lower level is tried again."""
        self._rising = False
        self._boost = 1.0
        self._off = 0.0
        """By how much the elasticity has been off target of late."""
        self._spread = SPREAD
        self._last: Measurement | None = None
        """What the next window is compared with."""
        self._trips: deque[float] = deque(maxlen=RECENT)
        """How long round trips were in the last windows."""
        self._recent: deque[Measurement] = deque(maxlen=MEMORY)
        """The last windows that were not slow."""
        self._slow_windows = 0
        self._tried: Measurement | None = None
        """The last window before a retreat, while that is tried."""
        self._open()

    @property
    def limit(self) -> int:
        """How many statements may be in flight now."""
        return self._limit

    @property
    def max_limit(self) -> int:
        """The most that it will ever allow."""
        return self._max

    def __repr__(self) -> str:
        return f"AdaptiveConcurrency(limit={self._limit}, min={self._min}, max={self._max})"

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt; see `Limiter`."""
        if outcome == "ignored":
            return
        with self._lock:
            if self._limit < self._aim:
                self._limit += 1
            success = outcome == "success"
            if success:
                self._alarm.success()
            # With more in flight than the limit it was sent before that fell, and fell for it.
            elif in_flight <= self._limit and self._alarm.overload() and self._limit > self._min:
                self._ceiling.lower(max(in_flight, self._limit / 2))
                self._halve()
                return
            if self._window.add(seconds, in_flight, success):
                self._close()

    def _close(self) -> None:
        found = self._window.measure()
        self._ceiling.passed(self._window.attempts / self._limit)
        if found.concurrency < self._limit / 2 or not 0 < found.throughput < inf:
            # The application does not use the limit; or nothing succeeded, or took any time.
            self._last = None
            self._open()
            return
        self._trips.append(found.seconds)
        if self._tried is not None:
            self._judge(self._tried, found)
        elif self._is_slow(found):
            self._tried = found
            self._go(max(self._min, int(self._level / RETREAT)))
        else:
            last, self._last = self._last, found
            if self._starting:
                self._double(last, found)
            else:
                self._climb(last, found)

    def _is_slow(self, found: Measurement) -> bool:
        """Say whether it is time to see if the level is to blame."""
        if found.seconds <= SLOW * self._expected(found.concurrency):
            self._slow_windows = 0
            self._recent.append(found)
            return False
        self._slow_windows += 1
        return self._slow_windows >= SLOW_WINDOWS and self._level >= RETREAT * self._min

    def _judge(self, before: Measurement, found: Measurement) -> None:
        """Compare what it was before the retreat with what it is after."""
        self._forget()
        if found.throughput > RELIEF * before.throughput:
            self._ceiling.lower(before.concurrency)
            self._starting = True
            self._level = float(self._limit)
            self._double(None, found)
            self._last = found
        else:
            # It is the cluster that has become slow; then this is normal now.
            self._compare()

    def _forget(self) -> None:
        self._last = self._tried = None
        self._slow_windows = 0
        self._recent.clear()

    def _expected(self, concurrency: float) -> float:
        """How many seconds a round trip lasts if all that was added only waits."""
        if not self._recent:
            return inf
        # Not the last one: else what becomes worse by and by would pass for normal.
        normal = max(self._recent, key=_throughput)
        return normal.seconds * max(1.0, concurrency / normal.concurrency)

    def _halve(self) -> None:
        self._starting = True
        self._rest = 0
        self._last = self._tried = None
        self._level = self._bounded(self._limit / 2)
        self._go(int(self._level))

    def _double(self, last: Measurement | None, found: Measurement) -> None:
        if last is not None:
            more = elasticity(last, found)
            if more < DOUBLING:
                # As much more as the throughput has grown by is in use; the rest waits.
                grown = min(2.0, max(1.0, found.throughput / last.throughput))
                self._level = self._bounded(last.concurrency * grown)
                self._compare()
                return
        doubled = self._bounded(2 * self._level)
        if doubled < SPREAD * self._level:
            self._level = doubled
            self._compare()
        else:
            self._level = doubled
            self._go(int(doubled))

    def _compare(self) -> None:
        """Begin to compare two levels."""
        self._starting = False
        self._last = None
        self._probe()

    def _climb(self, last: Measurement | None, found: Measurement) -> None:
        if self._rest > 0:
            self._rest -= 1
            self._open()
            return
        # Where the application did not go along with the limit there is nothing to compare.
        if last is not None and found.is_apart_from(last, SPREAD ** (1 / 3)):
            off = max(-STEEPEST, min(1.0, elasticity(last, found))) - TARGET
            self._off += NEWS * (off - self._off)
            rising = off > 0
            self._boost = min(FASTEST, 2 * self._boost) if rising == self._rising else 1.0
            self._rising = rising
            gain = GAIN * self._boost * log(self._spread, SPREAD)
            level = self._level * exp(gain * off)
            self._level = self._bounded(level)
            if level > self._level and rising and not self._high:
                # Every look at the lower level costs throughput, and can change nothing here.
                self._rest = REST
        self._high = not self._high
        self._probe()

    def _bounded(self, level: float) -> float:
        return max(float(self._min), min(float(self._max), self._ceiling.bound, level))

    def _probe(self) -> None:
        """Go to the lower or the higher of the two levels."""
        top = int(self._bounded(inf))
        above = sqrt(SPREAD)
        self._spread = FAR if self._seems_to_queue() else SPREAD
        below = self._spread / above
        low = max(self._min, min(round(self._level / below), int(top / self._spread)))
        high = min(top, max(low + 1, round(self._level * above)))
        self._go(high if self._high else low)

    def _seems_to_queue(self) -> bool:
        return self._off < 0 and self._trips[-1] > QUEUE * min(self._trips)

    def _go(self, aim: int) -> None:
        limit, self._aim = self._limit, aim
        if aim < limit:
            self._limit = aim
        # Those on the way there, and one round trip to settle in.
        self._open(skip=abs(aim - limit) + aim if aim != limit else 0)

    def _open(self, skip: int = 0) -> None:
        wanted = max(SAMPLES, ROUND_TRIPS * self._aim)
        patience = SLOW * wanted * self._expected(float(self._aim))
        self._window = Window(wanted, skip=skip, patience=patience)
