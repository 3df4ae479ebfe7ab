"""The pace of a destination: a token bucket that Kochava's 429s slow down."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from kochava_segment.delivery.after_fork import renew_after_fork

_SLOWEST = 1.0  # requests a second; below that it would look like standing still
_RECOVERY = 0.1  # of the ceiling, for each second in which requests succeed
_MEASURED_OVER = 5.0  # seconds
_LEAST_CEILING = 20.0  # a 429 says little about the pace of who sent three requests


class RateLimiter:
    """A token bucket, shared by all threads of a destination.

    A 429 halves the rate, at most once a second; successes raise it again until it has reached
    `max_rate`, or, where there is no `max_rate`, the rate at which the first 429 came.

    Args:
        max_rate: Requests a second; None for no limit.
        clock: Gives seconds that only grow.
    """

    def __init__(self, max_rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_rate = max_rate
        self._clock = clock
        self.after_fork()
        renew_after_fork(self)
        self._rate = max_rate  # None: unlimited, and no lock is taken
        self._ceiling = max_rate or 0.0
        self._next_slot = clock()
        self._slowed_at = float("-inf")
        self._raised_at = clock()
        self._window_start, self._window_count = clock(), 0

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @property
    def rate(self) -> float | None:
        """Requests a second at present; None where there is no limit."""
        return self._rate

    def reserve(self, within: float = math.inf) -> float:
        """Take the next slot, unless it comes too late: then it is left to others.

        Args:
            within: Seconds after which the slot is of no use.

        Returns:
            Seconds to wait until it comes.
        """
        if self._rate is None:
            # An estimate, so a lost update does no harm and no lock is taken.
            self._window_count += 1
            if self._clock() - self._window_start > _MEASURED_OVER:
                self._window_start, self._window_count = self._clock(), 1
            return 0.0
        with self._lock:
            if self._rate is None:
                return 0.0
            now = self._clock()
            slot = max(self._next_slot, now - 1.0 / self._rate)
            if slot - now <= within:
                self._next_slot = slot + 1.0 / self._rate
            return max(0.0, slot - now)

    def slow_down(self) -> None:
        """Kochava answered 429."""
        with self._lock:
            now = self._clock()
            if now - self._slowed_at < 1.0:  # one burst of 429s is one message
                return
            if self._rate is None:
                self._ceiling = self._measured(now)
            self._rate = max(_SLOWEST, (self._rate or self._ceiling) / 2)
            self._slowed_at = self._raised_at = now
            self._next_slot = now

    def speed_up(self) -> None:
        """Kochava took a request."""
        if self._rate == self._max_rate:
            return
        with self._lock:
            if self._rate is None:
                return
            now = self._clock()
            self._rate += _RECOVERY * self._ceiling * min(1.0, now - self._raised_at)
            self._raised_at = now
            if self._rate >= self._ceiling:
                self._rate = self._max_rate
                self._window_start, self._window_count = now, 0

    def _measured(self, now: float) -> float:
        return max(_LEAST_CEILING, self._window_count / max(1.0, now - self._window_start))
