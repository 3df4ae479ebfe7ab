"""How many requests to have under way at once: found out, so that nobody has to guess a number.

More than a server, or this process, can work on at a time only wait for each other: the answers take
longer, and no more of them come. So the number grows while answers take as long as ever, and shrinks
when they take longer, or when the server says that it is too much.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from kochava_segment.errors import ConfigurationError, Problem

MOST = 256
_FIRST = 2
_LEAST_WINDOW, _LEAST_SAMPLES = 0.05, 16  # seconds and answers that are looked at together
_PROBE_EVERY = 10.0  # seconds until it is measured anew how long an answer takes at best
_FEW_QUEUED, _MANY_QUEUED = 0.1, 0.2  # of what is under way: below, it grows; above, it shrinks
_FEW_AT_LEAST, _MANY_AT_LEAST = 1.5, 3  # but so many requests never matter
_BUSY = 0.6  # of the limit: what is under way on average, if the limit is what holds it up
_SHRINK, _SHRINK_WHEN_REFUSED = 0.9, 0.7
_GROW = 0.1  # of the limit, but at least 1
_LEARN = 0.25  # of a window that was quicker than the best so far


class Concurrency(Protocol):
    """How many requests may be under way at once.

    Attributes:
        limit: The number, at least 1.
    """

    limit: int

    def observe(self, elapsed: float, /, *, refused: bool) -> None:
        """An attempt took so many seconds; refused says that it was too much for the server."""
        ...


class PinnedConcurrency:
    """A number that stays as it is.

    Args:
        limit: The number.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def observe(self, elapsed: float, /, *, refused: bool) -> None:
        """Learn nothing."""


class AdaptiveConcurrency:
    """A number that follows what the server and this process can do. Shared by threads.

    After each round trip or so it estimates, as TCP Vegas does, how many of the requests under way
    merely wait: what the time of an answer has grown over the best, by the number under way. Few:
    additive increase, or doubling before the first sign of a queue. Many, or a refusal: a
    multiplicative decrease. The best is measured anew every 10 s, at half the number.

    Args:
        most: The number is never larger.
        clock: Gives seconds that only grow.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._exact = float(min(_FIRST, most))
        self.limit = int(self._exact)
        self._lock = threading.Lock()
        self._elapsed: list[float] = []
        self._refused = False
        self._doubling, self._hinted = True, False
        self._best = float("inf")  # the lowest of what was typical of a window
        self._began = clock()
        self._probe_at = self._began + _PROBE_EVERY
        self._probing = 0  # windows that are left of a probe
        self._after_probe = 0.0

    def observe(self, elapsed: float, /, *, refused: bool) -> None:
        """An attempt took so many seconds; refused says that it was too much for the server."""
        self._elapsed.append(elapsed)
        if refused:
            self._refused = True
        enough = max(self.limit, min(_LEAST_SAMPLES, 3 * self.limit))
        if len(self._elapsed) < enough or self._clock() - self._began < _LEAST_WINDOW:
            return
        if self._lock.acquire(blocking=False):  # else another thread is at it
            try:
                self._end_window()
            finally:
                self._lock.release()

    def _end_window(self) -> None:
        times, self._elapsed = sorted(self._elapsed), []
        now = self._clock()
        seconds, self._began = now - self._began, now
        refused, self._refused = self._refused, False
        if not times:  # another thread was quicker
            return
        typical = times[len(times) // 4]  # of the quick ones, which vary less
        if self._probing:
            self._go_on_probing(typical, now)
        elif refused:
            self._change(self._exact * _SHRINK_WHEN_REFUSED)
        elif now > self._probe_at and not self._doubling:
            self._after_probe, self._probing = self._exact, 2
            self._set(self._exact / 2)
        else:
            self._learn_best(typical)
            self._follow(typical, under_way=sum(times) / max(seconds, 1e-9))

    def _go_on_probing(self, typical: float, now: float) -> None:
        """The first window still has requests from before; the second tells."""
        self._probing -= 1
        if not self._probing:
            self._best = typical
            self._probe_at = now + _PROBE_EVERY
            self._set(self._after_probe)

    def _learn_best(self, typical: float) -> None:
        """Note how long an answer takes at best. A quicker window may be chance: it counts in part."""
        if self._best == float("inf"):
            self._best = typical
        elif typical < self._best:
            self._best += _LEARN * (typical - self._best)

    def _follow(self, typical: float, under_way: float) -> None:
        queued = self.limit * (1 - self._best / typical) if typical > 0 else 0.0
        if queued > max(_MANY_AT_LEAST, _MANY_QUEUED * self.limit):
            self._change(self._exact * _SHRINK)
        elif queued > max(_FEW_AT_LEAST, _FEW_QUEUED * self.limit):
            self._doubling = self._doubling and not self._hinted
            self._hinted = True
        elif under_way > _BUSY * self.limit:
            growth = self._exact if self._doubling else max(1.0, _GROW * self._exact)
            self._set(self._exact + growth)

    def _change(self, exact: float) -> None:
        self._doubling = False
        self._set(exact)

    def _set(self, exact: float) -> None:
        self._exact = min(float(self._most), max(1.0, exact))
        self.limit = int(self._exact)


def make_concurrency(wanted: int | None) -> Concurrency:
    """The concurrency that a caller asks for: a number, or None for what pays off.

    Raises:
        ConfigurationError: if it is neither.
    """
    if wanted is None:
        return AdaptiveConcurrency()
    if type(wanted) is not int or wanted < 1:  # a bool is an int, but no number
        detail = "must be a whole number from 1 on, or None for as many as pay off"
        raise ConfigurationError([Problem("concurrency", detail)])
    return PinnedConcurrency(wanted)
