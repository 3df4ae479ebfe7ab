"""The front door of programs that run in an event loop. It needs the extra `async`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Mapping
from functools import partial
from typing import Any

from typing_extensions import Self, Unpack

from kochava_segment.base_destination import (
    BaseDestination,
    Prepared,
    deadline_in,
    ordering_key,
    outcome_of,
)
from kochava_segment.delivery.async_delivery import AsyncDelivery
from kochava_segment.delivery.async_in_order import run_in_order
from kochava_segment.delivery.async_transport import AsyncTransport, make_async_transport
from kochava_segment.delivery.concurrency import make_concurrency
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.errors import ConfigurationError, KochavaSegmentError, Problem
from kochava_segment.options import AsyncOptionKeywords, Options
from kochava_segment.outcome import Outcome, Receipt
from kochava_segment.request import KochavaRequest

_Item = KochavaRequest | Mapping[str, Any] | KochavaSegmentError
_NO_OUTBOX = (
    "is not for asynchronous destinations: make a KochavaDestination with it, and call its enqueue "
    "in a thread, as with asyncio.to_thread"
)


class AsyncKochavaDestination(BaseDestination):
    """Maps Segment messages to Kochava requests, and delivers them without blocking an event loop.

    The options, the mapping, retries, pace and outcomes are those of KochavaDestination. It belongs to
    the event loop in which it first sends. Close it, or use it as a context manager, when done.

        async with AsyncKochavaDestination("koexample-app-guid") as kochava:
            receipt = await kochava.send(message)

    Args:
        app_guid: The Kochava App GUID. None if `app_guids` or the messages themselves give one for
            every message.
        **options: See docs/options.md, or `kochava_segment.Options`. A `transport` is an
            AsyncTransport here, and there is no `outbox`.

    Raises:
        ConfigurationError: with everything that is wrong with the options, also without aiohttp.
    """

    __slots__ = ("_delivery", "_transport")

    _delivery: AsyncDelivery
    _transport: AsyncTransport

    def __init__(self, app_guid: str | None = None, **options: Unpack[AsyncOptionKeywords]) -> None:
        self._start(Options.load({"app_guid": app_guid, **options}))

    def _start(self, options: Options) -> None:
        super()._start(options)
        if options.outbox is not None:
            raise ConfigurationError([Problem("outbox", _NO_OUTBOX)])
        transport = make_async_transport(options.transport, options.timeout)
        delivery = AsyncDelivery(
            transport,
            retry=options.retry,
            limiter=RateLimiter(options.max_rate),
            hooks=options.hooks,
        )
        self._set(_transport=transport, _delivery=delivery)

    async def send(
        self, item: KochavaRequest | Mapping[str, Any], *, within: float | None = None
    ) -> Receipt:
        """Post a request, retried as the option `retry` says. A message is mapped first.

        Cancelled while a request is in flight, its connection is closed: Kochava may have counted it
        or not, and nobody is told of an outcome. Cancelled during a wait, nothing is in flight.

        Args:
            item: A request that this destination mapped, or a Segment message.
            within: Seconds that this may take in all, as for `KochavaDestination.send`.

        Returns:
            Kochava's receipt: it took the request, which does not yet prove that it counted it.

        Raises:
            MappingError: as `map`; nothing was sent then.
            Rejected: Kochava refused it for good.
            CredentialsRejected: Kochava refused the API key or the signature.
            RetriesExhausted: it did not get through, and certainly was not counted.
            AmbiguousDelivery: it may have been counted, but the answer was lost.
        """
        deadline = deadline_in(within)
        request = item if isinstance(item, KochavaRequest) else self.map(item)
        return await self._delivery.deliver(request, deadline=deadline)

    def send_many(
        self,
        messages: Iterable[_Item] | AsyncIterable[_Item],
        concurrency: int | None = None,
        *,
        within: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Map and send messages side by side, and say of each what became of it.

        Input, order, memory and outcomes are as for `KochavaDestination.send_many`. To leave the loop
        early, use `contextlib.aclosing`: Python closes asynchronous generators late by itself.

        Args:
            messages: Segment messages, or requests that this destination mapped, from an iterable or
                an asynchronous one. An iterable that blocks, blocks the event loop.
            concurrency: How many requests may be under way at once; by default, as many as pay off.
            within: Seconds from this call that all may take together.

        Yields:
            One Outcome per message, in the order of completion; `index` is its place in the input.
            Closing the generator lets attempts under way end, and starts and yields nothing more.
            Cancelling the task that waits for it cancels them as well. Either way, what was taken and
            not yielded may or may not have been sent.

        Raises:
            ConfigurationError: if `concurrency` is not a positive whole number.
        """
        deadline = deadline_in(within)
        wanted = make_concurrency(concurrency)
        stopped = self._delivery.new_stop()
        steps_of = partial(self._delivery.steps_of, deadline=deadline)

        def work(prepared: Prepared) -> Awaitable[Outcome]:
            return self._delivery.drive(outcome_of(prepared, steps_of), stopped, wanted)

        return run_in_order(
            self._prepared(messages),
            work,
            key=ordering_key,
            concurrency=wanted,
            on_close=stopped.set,
        )

    def _prepared(
        self, messages: Iterable[_Item] | AsyncIterable[_Item]
    ) -> Iterable[Prepared] | AsyncIterable[Prepared]:
        if isinstance(messages, AsyncIterable):
            return self._prepared_as_they_come(messages)
        return (self._prepare(index, item) for index, item in enumerate(messages))

    async def _prepared_as_they_come(
        self, messages: AsyncIterable[_Item]
    ) -> AsyncGenerator[Prepared, None]:
        index = 0
        async for item in messages:
            yield self._prepare(index, item)
            index += 1

    async def close(self) -> None:
        """Release the connections. Deliveries under way end with what is known of them so far."""
        self._delivery.stop()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
