"""Delivers requests in an event loop: does what the steps say, as `delivery` does it in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from typing import TypeVar
from weakref import WeakSet

from kochava_segment.delivery.async_transport import AsyncTransport, PunctualAsyncTransport
from kochava_segment.delivery.attempt import Attempt, failed, judge
from kochava_segment.delivery.concurrency import Concurrency, PinnedConcurrency
from kochava_segment.delivery.driving import learn
from kochava_segment.delivery.instrumentation import DeliveryHook
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.steps import DeliverySteps, Steps, Wait
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest

_Result = TypeVar("_Result")
_LEARNS_NOTHING = PinnedConcurrency(1)


class AsyncDelivery:
    """Takes requests through an asynchronous transport.

    Args:
        transport: Posts a request once.
        retry: When to try again.
        limiter: The pace.
        hooks: Whom to tell.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        *,
        retry: RetryPolicy,
        limiter: RateLimiter,
        hooks: Sequence[DeliveryHook] = (),
    ) -> None:
        self._transport = transport
        self._steps = DeliverySteps(retry=retry, limiter=limiter, hooks=hooks)
        self._is_stopped = False
        self._stops: WeakSet[asyncio.Event] = WeakSet()
        self._stopped = self.new_stop()

    def new_stop(self) -> asyncio.Event:
        """What ends the waits of those deliveries that are given it, when it is set.

        `stop()` sets it as well.
        """
        stop = asyncio.Event()
        self._stops.add(stop)
        if self._is_stopped:
            stop.set()
        return stop

    def stop(self) -> None:
        """Wake everything that waits; each ends with the error of what is known of it so far."""
        self._is_stopped = True
        for stop in tuple(self._stops):
            stop.set()

    async def deliver(self, request: KochavaRequest, deadline: float = math.inf) -> Receipt:
        """Deliver a request.

        Args:
            request: What is delivered.
            deadline: When all must be over, as `time.monotonic()` counts.

        Raises:
            DeliveryError: as `AsyncKochavaDestination.send` says.
        """
        return await self.drive(self.steps_of(request, deadline), self._stopped)

    def steps_of(self, request: KochavaRequest, deadline: float = math.inf) -> Steps[Receipt]:
        """The steps of a request; they raise what `deliver` does."""
        return self._steps.of(request, deadline)

    async def drive(
        self,
        steps: Steps[_Result],
        stopped: asyncio.Event,
        concurrency: Concurrency = _LEARNS_NOTHING,
    ) -> _Result:
        """Do one step after the other.

        Args:
            steps: The steps.
            stopped: Ends their waits, and prevents further attempts, once it is set; made by
                `new_stop()`.
            concurrency: Learns from their attempts.

        Returns:
            What they come to. What they raise is raised.
        """
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    if step.seconds > 0 and not stopped.is_set():
                        await _pause(stopped, step.seconds)
                    step = steps.send(stopped.is_set())
                else:
                    attempt = await self._attempt(step.request, step.seconds)
                    learn(concurrency, attempt)
                    step = steps.send(attempt)
        except StopIteration as settled:
            result: _Result = settled.value
            return result
        finally:
            steps.close()  # it may have been cancelled

    async def _attempt(self, request: KochavaRequest, seconds: float | None) -> Attempt:
        began = time.monotonic()
        try:
            if seconds is None or not isinstance(self._transport, PunctualAsyncTransport):
                answer = await self._transport.send(request)
            else:
                answer = await self._transport.send_within(request, seconds)
        except Exception as error:  # noqa: BLE001  # a transport of the user's own
            return failed(error, time.monotonic() - began)
        return judge(answer, time.monotonic() - began)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stopped.wait(), seconds)
