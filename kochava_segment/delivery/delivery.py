"""Delivers requests: one in the caller's thread, or many side by side."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.attempt import KOCHAVA
from kochava_segment.delivery.concurrency import Concurrency, PinnedConcurrency
from kochava_segment.delivery.driving import Stop, drive
from kochava_segment.delivery.instrumentation import DeliveryHook
from kochava_segment.delivery.make_workers import make_workers
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.steps import DeliverySteps, Steps
from kochava_segment.delivery.transport import Transport
from kochava_segment.delivery.workers import Done, Workers
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest

_Job = TypeVar("_Job")
_LEARNS_NOTHING = PinnedConcurrency(1)


class Delivery:
    """Takes requests through a transport. Shared by all threads of a destination.

    Args:
        transport: Posts a request once.
        retry: When to try again.
        limiter: The pace.
        hooks: Whom to tell.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry: RetryPolicy,
        limiter: RateLimiter,
        hooks: Sequence[DeliveryHook] = (),
    ) -> None:
        self._transport = transport
        self._steps = DeliverySteps(retry=retry, limiter=limiter, hooks=hooks)
        self._is_stopped = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget what the parent's threads may hold, or wait for."""
        # A signal handler may call stop() in a thread that is just here, hence the RLock.
        self._lock = threading.RLock()
        self._stops: WeakSet[Stop] = WeakSet()
        self._stopped = self.new_stop()

    def new_stop(self) -> Stop:
        """What ends the waits of those deliveries that are given it, when it is set.

        `stop()` sets it as well.
        """
        stop = Stop()
        with self._lock:
            self._stops.add(stop)
            if self._is_stopped:
                stop.set()
        return stop

    def stop(self) -> None:
        """Wake everything that waits; each ends with the error of what is known of it so far."""
        with self._lock:
            self._is_stopped = True
            for stop in tuple(self._stops):
                stop.set()

    def deliver(self, request: KochavaRequest, deadline: float = math.inf) -> Receipt:
        """Deliver a request.

        Args:
            request: What is delivered.
            deadline: When all must be over, as `time.monotonic()` counts.

        Raises:
            DeliveryError: as `KochavaDestination.send` says.
        """
        steps = self.steps_of(request, deadline)
        return drive(steps, self._transport, self._stopped, _LEARNS_NOTHING, KOCHAVA)

    def steps_of(self, request: KochavaRequest, deadline: float = math.inf) -> Steps[Receipt]:
        """The steps of a request; they raise what `deliver` does."""
        return self._steps.of(request, deadline)

    def workers(
        self,
        steps_of: Callable[[_Job], Steps[Any]],
        stopped: Stop,
        concurrency: Concurrency,
        done: Done[_Job],
    ) -> Workers[_Job]:
        """Those who do the steps of many jobs.

        Args:
            steps_of: Gives the steps of a job.
            stopped: Ends the waits of all, and prevents further attempts, once it is set; made by
                `new_stop()`.
            concurrency: How many jobs are under way at once.
            done: Told of each job that is over.
        """
        return make_workers(
            steps_of,
            done,
            transport=self._transport,
            stopped=stopped,
            concurrency=concurrency,
        )
