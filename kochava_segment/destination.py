"""The front door: options in; requests, receipts and outcomes out."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve
from typing_extensions import Self, Unpack

from kochava_segment.delivery.concurrency import Concurrency, make_concurrency
from kochava_segment.delivery.delivery import Delivery
from kochava_segment.delivery.in_order import run_in_order
from kochava_segment.delivery.make_transport import make_transport
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import OutboxStatus
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.signing import (
    ACCOUNT_KEY_HEADER,
    Credentials,
    auth_headers,
    digest_of,
)
from kochava_segment.durable import DurableQueue, Forgotten
from kochava_segment.errors import (
    ConfigurationError,
    InvalidEventPayload,
    KochavaSegmentError,
    Problem,
)
from kochava_segment.mapping import apple_search_ads, deletion, install_attribution, mapper
from kochava_segment.mapping.explain import Explanation, explain
from kochava_segment.options import OptionKeywords, Options
from kochava_segment.outcome import Outcome, OutcomeKind, Receipt
from kochava_segment.request import KochavaRequest


class KochavaDestination:
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

    __slots__ = ("_credentials", "_delivery", "_durable", "_options", "_transport")

    _credentials: Credentials | None
    _delivery: Delivery
    _durable: DurableQueue | None
    _options: Options
    _transport: Any

    def __init__(self, app_guid: str | None = None, **options: Unpack[OptionKeywords]) -> None:
        self._start(Options.load({"app_guid": app_guid, **options}))

    @classmethod
    def from_config(
        cls, path: str | Path, app_guid: str | None = None, **options: Unpack[OptionKeywords]
    ) -> Self:
        """A destination with the options of a TOML file.

        Keywords win over `KOCHAVA_SEGMENT_*` environment variables, those win over the file.

        Args:
            path: The TOML file; options by name at its top level, see docs/options.md.
            app_guid: As for the class.
            **options: As for the class.

        Raises:
            ConfigurationError: with everything that is wrong, also if the file cannot be read.
        """
        keywords = {"app_guid": app_guid, **options}
        return cls._of(Options.load(keywords, environment=os.environ, file=path))

    @classmethod
    def from_env(cls, app_guid: str | None = None, **options: Unpack[OptionKeywords]) -> Self:
        """A destination with the options of `KOCHAVA_SEGMENT_*` environment variables.

        Args:
            app_guid: As for the class.
            **options: As for the class; keywords win over the environment.

        Raises:
            ConfigurationError: with everything that is wrong.
        """
        return cls._of(Options.load({"app_guid": app_guid, **options}, environment=os.environ))

    @classmethod
    def _of(cls, options: Options) -> Self:
        destination = cls.__new__(cls)
        destination._start(options)  # noqa: SLF001  # a constructor
        return destination

    def _start(self, options: Options) -> None:
        transport = make_transport(options.transport, options.timeout)
        credentials = None
        if options.api_key is not None and options.api_secret is not None:
            credentials = Credentials(options.api_key, options.api_secret)
        delivery = Delivery(
            transport,
            retry=options.retry,
            limiter=RateLimiter(options.max_rate),
            hooks=options.hooks,
        )
        for name, value in (
            ("_options", options),
            ("_transport", transport),
            ("_credentials", credentials),
            ("_delivery", delivery),
        ):
            object.__setattr__(self, name, value)
        durable = None
        if options.outbox is not None:
            durable = DurableQueue(
                options,
                transport,
                prepare=self._prepared_to_send,
                credentials=digest_of(credentials, options.account_key),
            )
        object.__setattr__(self, "_durable", durable)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a KochavaDestination is frozen: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a KochavaDestination is frozen")

    def __repr__(self) -> str:
        guid = self._options.app_guid
        # Enough of it to tell two apps apart, too little to send in their name.
        masked = None if guid is None else f"{guid[: min(6, len(guid) // 3)]}…"
        return f"{type(self).__name__}({masked!r}, endpoint={self._options.endpoint!r})"

    @property
    def options(self) -> Options:
        """The options, as they were checked at construction."""
        return self._options

    # Pure: nothing of this leaves the process.

    def map(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The Kochava request that a Segment message becomes, whatever its type.

        Args:
            message: A Segment message (common fields: https://segment.com/docs/connections/spec/).
                It is not changed.

        Returns:
            The request; equal messages give equal bytes. Oddities are in its `warnings`.

        Raises:
            InvalidEventPayload: if the message is malformed; `problems` has every path.
            EventNotSupported: if Kochava has nothing like it (group, alias, delete).
            EventFiltered: if it is not meant for Kochava; `reason` says why.
            ConfigurationError: if no option gives an App GUID for it.
        """
        return self._signed(mapper.map_message(message, self._options))

    def track(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The event or install that a track message becomes.

        Application Installed becomes an install, everything else an event; standard events get
        Kochava's names and keys (Kochava, *Post-Install Event Examples*).

        Args:
            message: A Segment message of type `track`.

        Raises:
            MappingError: as `map`; InvalidEventPayload also if it is of another type.
        """
        return self._signed(mapper.map_as(("track",), message, self._options))

    def identify(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The IdentityLink that an identify message becomes (Kochava, *IdentityLink Setup*).

        It links the device with `userId`, with Engage's computed trait or audience, and with the
        traits in `identity_traits`.

        Args:
            message: A Segment message of type `identify`.

        Raises:
            MappingError: as `map`; InvalidEventPayload also if it is of another type.
        """
        return self._signed(mapper.map_as(("identify",), message, self._options))

    def screen(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The event that a screen or page message becomes; the option `screens` decides.

        Args:
            message: A Segment message of type `screen` or `page`.

        Raises:
            MappingError: as `map`; EventFiltered with SCREENS_OFF unless `screens` is set.
        """
        return self._signed(mapper.map_as(("screen", "page"), message, self._options))

    def idfa_update(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The `update` request that tells Kochava of an IDFA that was allowed after the install.

        Seen in one sender only, not in Kochava's articles; `map` never chooses it.

        Args:
            message: Any Segment message whose device has an advertising id that can be trusted.

        Raises:
            InvalidEventPayload: if it has none, or no id of the app instance.
            MappingError: as `map`.
        """
        return self._signed(mapper.map_idfa_update(message, self._options))

    def explain(self, message: Mapping[str, Any]) -> Explanation:
        """The request of a message with the source and rule of each field, and what is left out.

        For people debugging: it maps the message several times over.

        Args:
            message: A Segment message of any type.

        Raises:
            MappingError: as `map`.
        """
        explanation = explain(message, self._options)
        return evolve(explanation, request=self._signed(explanation.request))

    def apple_search_ads_context(self, attribution: Mapping[str, Any]) -> dict[str, Any]:
        """Apple Search Ads attribution as a fragment of Segment's `context`.

        Args:
            attribution: The iAd dictionary, with or without "Version3.1", or an answer of Apple's
                AdServices API.

        Returns:
            `{"campaign": {...}}` with string values, the keys those of Segment's middleware
            analytics-ios-iads-attribution; an empty dict if the install is not attributed.

        Raises:
            InvalidEventPayload: if it is not an object of strings, numbers and booleans.
        """
        return apple_search_ads.apple_search_ads_context(attribution)

    def install_attribution(
        self, postback: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> dict[str, Any]:
        """Kochava's install postback as a Segment track message "Install Attributed".

        Args:
            postback: The parameters of the postback's query, form or JSON body: a mapping of names
                to values or lists of values, or (name, value) pairs. Letter case does not matter.
                The option `postback_fields` has their names (Kochava, *Create a Custom Postback*).

        Returns:
            A complete message for Segment's HTTP API (Segment, *Mobile spec: Install Attributed*).

        Raises:
            InvalidEventPayload: if it names no user and no device, or is not made of parameters.
            EventNotSupported: if it is the postback of something else than an install.
        """
        return install_attribution.install_attribution(postback, self._options.postback_fields)

    def _signed(self, request: KochavaRequest) -> KochavaRequest:
        if self._credentials is None:
            return request
        headers = {**request.headers, **auth_headers(request.body, self._credentials)}
        return evolve(request, headers=headers)

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
        deadline = _deadline(within)
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
        deadline = _deadline(within)
        wanted = make_concurrency(concurrency)
        prepared = (self._prepare(index, item) for index, item in enumerate(messages))
        stopped = self._delivery.new_stop()
        return run_in_order(
            prepared,
            partial(self._finish, stopped, deadline, wanted),
            key=_ordering_key,
            concurrency=wanted,
            on_close=stopped.set,
        )

    def _prepare(self, index: int, item: object) -> _Prepared:
        """Map a message in the caller's thread: its ordering key decides where it waits."""
        if isinstance(item, KochavaRequest):
            return index, item
        failure = item  # what a reader made of input that it could not read
        if not isinstance(failure, KochavaSegmentError):
            try:
                return index, self.map(item)  # type: ignore[arg-type]  # others are reported
            except KochavaSegmentError as error:
                failure = error
            except Exception as error:  # noqa: BLE001  # of a Mapping that cannot be read
                problem = Problem("$", f"cannot be read: it raised {type(error).__name__}")
                failure = InvalidEventPayload([problem])
        return index, Outcome.of_error(index, failure)

    def _finish(
        self,
        stopped: threading.Event,
        deadline: float,
        concurrency: Concurrency,
        prepared: _Prepared,
    ) -> Outcome:
        index, item = prepared
        if isinstance(item, Outcome):
            return item
        try:
            receipt = self._delivery.deliver(item, stopped, deadline, concurrency)
        except KochavaSegmentError as error:
            return Outcome.of_error(index, error, item)
        return Outcome(
            index=index,
            message_id=item.message_id,
            kind=OutcomeKind.ACCEPTED,
            receipt=receipt,
            warnings=item.warnings,
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
        """Store messages in the outbox, some hundred in a transaction, which is far quicker.

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


_Prepared = tuple[int, KochavaRequest | Outcome]


def _deadline(within: float | None) -> float:
    return math.inf if within is None else time.monotonic() + within


def _ordering_key(prepared: _Prepared) -> str | None:
    item = prepared[1]
    return item.ordering_key if isinstance(item, KochavaRequest) else None
