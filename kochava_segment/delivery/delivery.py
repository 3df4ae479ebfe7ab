"""Delivers requests in the caller's thread: does what the steps say, and tells them what came of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from weakref import WeakSet

from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import make_attempt
from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.instrumentation import DeliveryHook
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.steps import DeliverySteps, Wait
from kochava_segment.delivery.transport import Transport
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest


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
        self._stops: WeakSet[threading.Event] = WeakSet()
        self._stopped = self.new_stop()

    def new_stop(self) -> threading.Event:
        """What ends the waits of those deliveries that are given it, when it is set.

        `stop()` sets it as well.
        """
        stop = threading.Event()
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

    def deliver(
        self,
        request: KochavaRequest,
        stopped: threading.Event | None = None,
        deadline: float = math.inf,
        concurrency: Concurrency | None = None,
    ) -> Receipt:
        """Deliver a request.

        Args:
            request: What is delivered.
            stopped: Ends its waits, and prevents further attempts, once it is set; made by
                `new_stop()`. By default, only `stop()` does that.
            deadline: When all must be over, as `time.monotonic()` counts.
            concurrency: Learns from its attempts.

        Raises:
            DeliveryError: as `KochavaDestination.send` says.
        """
        stopped = self._stopped if stopped is None else stopped
        steps = self._steps.of(request, deadline)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    closed = stopped.is_set() or (step.seconds > 0 and stopped.wait(step.seconds))
                    step = steps.send(closed)
                else:
                    attempt = make_attempt(self._transport, request, step.seconds)
                    if concurrency is not None:
                        concurrency.observe(
                            attempt.elapsed, refused=attempt.verdict is Verdict.RETRY
                        )
                    step = steps.send(attempt)
        except StopIteration as settled:
            receipt: Receipt = settled.value
            return receipt
