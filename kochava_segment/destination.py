"""The front door: options in; requests, receipts and outcomes out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from typing_extensions import Self

from kochava_segment.base_destination import (
    BaseDestination,
    deadline_in,
    ordering_key,
    outcome_of,
)
from kochava_segment.delivery.concurrency import make_concurrency
from kochava_segment.delivery.delivery import Delivery
from kochava_segment.delivery.in_order import run_in_order
from kochava_segment.delivery.make_transport import make_transport
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.signing import ACCOUNT_KEY_HEADER, digest_of
from kochava_segment.delivery.transport import Transport
from kochava_segment.errors import ConfigurationError, KochavaSegmentError, Problem
from kochava_segment.mapping import deletion, mapper
from kochava_segment.options import Options
from kochava_segment.outcome import Outcome, Receipt
from kochava_segment.request import KochavaRequest

if TYPE_CHECKING:  # only who has an outbox pays for loading it
    from kochava_segment.delivery.outbox import Outbox
    from kochava_segment.delivery.outbox_inspection import OutboxStatus
    from kochava_segment.durable import DurableQueue, Forgotten


class KochavaDestination(BaseDestination):
    """Maps Segment messages to Kochava server-to-server requests, and delivers them.

    One destination serves a whole process: it is immutable, safe to share between threads, and
    keeps connections open between calls. Close it, or use it as a context manager, when done.

        with KochavaDestination("koexample-app-guid") as kochava:
            receipt = kochava.send(message)

    Args:
        app_guid: The Kochava App GUID. None if `app_guids` or the messages themselves give one for
            every message.
        **options: See docs/options.md, or `kochava_segment.Options`.

    Raises:
        ConfigurationError: with everything that is wrong with the options.
    """

    __slots__ = ("_delivery", "_durable", "_transport")

    _delivery: Delivery
    _durable: DurableQueue | None
    _transport: Transport

    def _start(self, options: Options) -> None:
        super()._start(options)
        transport = make_transport(options.transport, options.timeout)
        delivery = Delivery(
            transport,
            retry=options.retry,
            limiter=RateLimiter(options.max_rate),
            hooks=options.hooks,
        )
        self._set(_transport=transport, _delivery=delivery, _durable=None)
        if options.outbox is not None:
            from kochava_segment.durable import DurableQueue  # noqa: PLC0415  # see above

            durable = DurableQueue(
                options,
                transport,
                prepare=self._prepared_to_send,
                credentials=digest_of(self._credentials, options.account_key),
            )
            self._set(_durable=durable)

    # Not pure: these talk to Kochava.

    def send(
        self, item: KochavaRequest | Mapping[str, Any], *, within: float | None = None
    ) -> Receipt:
        """Post a request, retried as the option `retry` says. A message is mapped first.

        Args:
            item: A request that this destination mapped, or a Segment message.
            within: Seconds that this may take in all. Timeouts are cut to what is left of them, and
                no attempt is begun that has no time to end. None leaves it to `retry`. It binds
                your own `transport` only if that has `send_within(request, seconds)`.

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
        return self._delivery.deliver(request, deadline=deadline)

    def send_many(
        self,
        messages: Iterable[KochavaRequest | Mapping[str, Any] | KochavaSegmentError],
        concurrency: int | None = None,
        *,
        within: float | None = None,
    ) -> Generator[Outcome, None, None]:
        """Map and send messages side by side, and say of each what became of it.

        The input is consumed as room comes free, so it may be endless. Messages of one device keep
        their order. An exception of the iterable itself is raised once everything that was taken
        from it has been reported.

        Memory holds at most 4 messages for each request that may be under way, and 64 more that
        wait for an earlier one of their device. A busy device delays others only where its messages
        take up those 64: those are sent one after the other, whatever the concurrency.

        Args:
            messages: Segment messages, or requests that this destination mapped. An error stands
                for a message that could not be read; it is reported in its place.
            concurrency: How many requests may be under way at once. By default as many as pay off, up
                to 256: it is found out, by how long answers take and by refusals (429, 5xx).
            within: Seconds from this call that all may take together, as for `send`. What could not
                be tried in them is EXHAUSTED, after no attempt.

        Yields:
            One Outcome per message, in the order of completion; `index` is its place in the input.
            Closing the generator lets attempts under way end, and starts and yields nothing more:
            what was taken and not yielded may or may not have been sent.

        Raises:
            ConfigurationError: if `concurrency` is not a positive whole number.
        """
        deadline = deadline_in(within)
        wanted = make_concurrency(concurrency)
        prepared = (self._prepare(index, item) for index, item in enumerate(messages))
        stopped = self._delivery.new_stop()
        steps_of = partial(self._delivery.steps_of, deadline=deadline)
        return run_in_order(
            prepared,
            partial(
                self._delivery.workers, partial(outcome_of, steps_of=steps_of), stopped, wanted
            ),
            key=ordering_key,
            concurrency=wanted,
            on_close=stopped.set,
        )

    # With an outbox.

    def enqueue(self, item: KochavaRequest | Mapping[str, Any]) -> Outcome:
        """Store a message in the outbox, from which it is sent in the background.

        It is durable when this returns: whatever becomes of the process, the message reaches Kochava,
        or a list that a person can read. Nothing is sent twice for the same messageId within the
        option `dedup_window`. A `delete` message forgets its user, as `forget` does.

        Args:
            item: A Segment message, or a request that this destination mapped.

        Returns:
            An Outcome of kind QUEUED, or DUPLICATE where the outbox knows its messageId.

        Raises:
            MappingError: as `map`; nothing was stored then.
            OutboxError: the outbox did not take it; it is the caller's still.
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().enqueue(item)

    def enqueue_many(
        self, items: Iterable[KochavaRequest | Mapping[str, Any] | KochavaSegmentError]
    ) -> list[Outcome]:
        """Store messages in the outbox, up to a thousand in a transaction, which is far quicker.

        Args:
            items: Segment messages, or requests. An error stands for a message that could not be
                read. An endless input should come in slices: the answer holds an Outcome for each.

        Returns:
            One Outcome per message, in order: QUEUED, DUPLICATE, FILTERED, INVALID or UNSUPPORTED.
            A message that cannot be mapped harms no other.

        Raises:
            OutboxError: the outbox did not take the last of them. Give it all of them again: what it
                has taken, it knows by its messageId.
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().enqueue_many(items)

    def flush(self, timeout: float | None = None) -> OutboxStatus:
        """Wait until nothing in the outbox is waiting or in flight, paused apps aside.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Returns:
            What the outbox holds then, counted by state.

        Raises:
            OutboxError: if the outbox cannot be read.
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().flush(timeout)

    def forget(self, user_id: str) -> Forgotten:
        """Forget a user, as a `delete` message does.

        Discards what of theirs is in the outbox undelivered, removes them from the device directory,
        and queues a data subject request for each device that was known, if `account_id` and
        `account_key` are set (Kochava, *Data Subject Request*).

        Args:
            user_id: The userId, as in their messages.

        Returns:
            What was done.

        Raises:
            OutboxError: if the outbox cannot be written; nothing was done then.
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().forget(user_id)

    def start_relay(self, wait: float = 0.0) -> None:
        """Send what the outbox holds in the background; the first `enqueue` does this by itself.

        A relay that was stopped is started again.

        Args:
            wait: Seconds to wait at most for its first look at the outbox: by then, apps that were
                paused for other credentials go on.

        Raises:
            ConfigurationError: if the option `outbox` is not set.
        """
        relay = self._queue().relay
        relay.start(again=True)
        relay.wait_until_started(wait)

    def stop_relay(self, timeout: float = 5.0) -> bool:
        """Finish what is being posted and stop sending; what waits stays in the outbox.

        `start_relay` and `flush` start it again, `enqueue` does not.

        Args:
            timeout: Seconds that this may take.

        Returns:
            Whether everything under way could be finished.

        Raises:
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().relay.stop(timeout)

    @property
    def relay_alive(self) -> bool:
        """Whether the relay is running in this process, and the outbox lets it work.

        Raises:
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().relay.alive

    @property
    def relay_rate(self) -> float | None:
        """Requests a second that the relay posts at most at present; None where nothing limits it.

        Raises:
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().relay.rate

    @property
    def outbox(self) -> Outbox:
        """The outbox, for `kochava_segment.delivery.outbox_inspection`.

        Raises:
            ConfigurationError: if the option `outbox` is not set.
        """
        return self._queue().outbox

    def _queue(self) -> DurableQueue:
        if self._durable is None:
            detail = "is not set: give the path of a file that is to hold what is not delivered yet"
            raise ConfigurationError([Problem("outbox", detail)])
        return self._durable

    def _prepared_to_send(self, request: KochavaRequest) -> KochavaRequest:
        """A stored request with today's endpoint and signature: neither is kept in the outbox."""
        options = self._options
        if request.action == deletion.ACTION:
            url = options.privacy_endpoint + deletion.path_of(request.url)
            headers = {**request.headers, ACCOUNT_KEY_HEADER: options.account_key or ""}
            return evolve(request, url=url, headers=headers)
        url = options.endpoint + mapper.path_of(request.action)
        return self._signed(request if url == request.url else evolve(request, url=url))

    def close(self) -> None:
        """Release the connections. Deliveries under way end with what is known of them so far.

        With an outbox, what is being posted is awaited for up to 5 s; the rest stays in the outbox.
        """
        if self._durable is not None:
            self._durable.close()
        self._delivery.stop()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
