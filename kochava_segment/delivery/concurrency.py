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
_FIRST = 4
_LEAST_WINDOW, _LEAST_SAMPLES = 0.05, 16  # seconds and answers that are looked at together
_LEAST_DOUBLING_WINDOW = 0.02  # seconds, while it doubles: then a round trip is enough
_PROBE_EVERY = 10.0  # seconds until it is measured anew how long an answer takes at best
_FEW_QUEUED, _MANY_QUEUED = 0.15, 0.3  # of what is under way: below, it grows; above, it shrinks
_FEW_AT_LEAST, _MANY_AT_LEAST = 1.5, 3  # but so many requests never matter
_BUSY = 0.6  # of the limit: what is under way on average, if the limit is what holds it up
_SHRINK, _SHRINK_WHEN_REFUSED = 0.9, 0.7
_GROW = 0.1  # of the limit, but at least 1
_PAYS_OFF = 1.2  # times as many answers a second, or doubling was in vain
_QUIET = 5  # windows in a row without a queue, after which it doubles again
_LEARN, _LEARN_DOUBLING = 0.25, 0.5  # of a window that was quicker than the best so far


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

    It begins with TCP's slow start: each round trip doubles it, until two in a row have found a queue,
    or no more answers for it. How long the queue is it estimates as TCP Vegas does: what the time of
    an answer has grown over the best, by the number under way. From then on, few that wait are an
    additive increase, many a multiplicative decrease, and five windows in a row with few double it
    again. A refusal is a decrease at once, and the end of all doubling. The best is measured anew
    every 10 s, at half the number.

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
        self._ever_refused = False
        self._doubling, self._hinted = True, False
        self._quiet = 0  # windows in a row without a queue
        self._settling = False  # after a decrease, for a window: its requests were sent before
        self._rate = 0.0  # answers a second before it was doubled
        self._best = float("inf")  # the lowest of what was typical of a window
        self._began: float | None = None  # when the first request of all was sent, then a window
        self._probe_at = clock() + _PROBE_EVERY
        self._probing = 0  # windows that are left of a probe
        self._after_probe = 0.0

    def observe(self, elapsed: float, /, *, refused: bool) -> None:
        """An attempt took so many seconds; refused says that it was too much for the server."""
        now = self._clock()
        if self._began is None:
            self._began = now - elapsed
        self._elapsed.append(elapsed)
        if refused and not self._settling:
            self._back_off(now)
        if len(self._elapsed) < self._enough or now - self._began < self._least_window:
            return
        if self._lock.acquire(blocking=False):  # else another thread is at it
            try:
                self._end_window(now)
            finally:
                self._lock.release()

    @property
    def _enough(self) -> int:
        least = 0 if self._doubling else min(_LEAST_SAMPLES, 3 * self.limit)
        return max(self.limit, least)

    @property
    def _least_window(self) -> float:
        return _LEAST_DOUBLING_WINDOW if self._doubling else _LEAST_WINDOW

    def _back_off(self, now: float) -> None:
        with self._lock:
            if not self._settling:  # else another thread was quicker
                before = self._after_probe if self._probing else self._exact
                self._probing, self._ever_refused = 0, True
                self._elapsed, self._began = [], now
                self._decrease(before * _SHRINK_WHEN_REFUSED)

    def _end_window(self, now: float) -> None:
        times, self._elapsed = sorted(self._elapsed), []
        seconds, self._began = now - (self._began or 0.0), now
        settling, self._settling = self._settling, False
        if not times or settling:  # not times: another thread was quicker
            return
        typical = times[len(times) // 4]  # of the quick ones, which vary less
        if self._probing:
            self._go_on_probing(typical, now)
        elif now > self._probe_at and not self._doubling:
            self._after_probe, self._probing = self._exact, 2
            self._set(self._exact / 2)
        else:
            self._learn_best(typical)
            seconds = max(seconds, 1e-9)
            self._follow(typical, len(times) / seconds, under_way=sum(times) / seconds)

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
            learn = _LEARN_DOUBLING if self._doubling else _LEARN
            self._best += learn * (typical - self._best)

    def _follow(self, typical: float, rate: float, under_way: float) -> None:
        queued = self._exact * (1 - self._best / typical) if typical > 0 else 0.0
        busy = under_way > _BUSY * self.limit
        in_vain = self._doubling and busy and rate < _PAYS_OFF * self._rate
        if in_vain or queued > _few(self._exact):
            self._quiet = 0
            if self._doubling:
                self._end_doubling(self._exact - queued, in_vain=in_vain)
            elif queued > max(_MANY_AT_LEAST, _MANY_QUEUED * self._exact):
                self._decrease(self._exact * _SHRINK)
        elif busy:
            self._hinted = False
            self._quiet += 1
            self._doubling = self._doubling or (self._quiet >= _QUIET and not self._ever_refused)
            growth = self._exact if self._doubling else max(1.0, _GROW * self._exact)
            self._set(self._exact + growth)
            self._rate = rate if self._exact < self._most else 0.0  # cut, it was not doubled

    def _end_doubling(self, worked_on: float, *, in_vain: bool) -> None:
        """The first sign that it is too much may be chance; the second tells how far."""
        if self._hinted:
            enough = min(worked_on, self._exact / 2) if in_vain else worked_on
            self._decrease(enough + _few(enough))
        self._hinted = not self._hinted

    def _decrease(self, exact: float) -> None:
        self._doubling, self._settling, self._quiet = False, True, 0
        self._set(exact)

    def _set(self, exact: float) -> None:
        self._exact = min(float(self._most), max(1.0, exact))
        self.limit = int(self._exact)


def _few(limit: float) -> float:
    """How many may wait before it is a queue."""
    return max(_FEW_AT_LEAST, _FEW_QUEUED * limit)


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
