"""Messages on their way to Segment, behind a durable queue.

Segment's own Python client keeps its queue in memory: it loses events when a process ends, and
does not retry in its synchronous mode. Here its low-level request is what posts, and an outbox is
what keeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import requests
from attrs import evolve
from typing_extensions import Self
from urllib3.exceptions import NewConnectionError

from kochava_segment import option_kinds as kinds
from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.attempt import Peer
from kochava_segment.delivery.instrumentation import DeliveryHook, LoggingHook
from kochava_segment.delivery.outbox import NewEntry, Outbox, OutboxSettings
from kochava_segment.delivery.relay import Relay, RelaySettings
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.errors import ConfigurationError, InvalidEventPayload, OutboxError, Problem
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.request import KochavaRequest

SEGMENT = "https://api.segment.io"
"""Where workspaces in the United States are; those in the European Union have SEGMENT_EU."""

SEGMENT_EU = "https://events.eu1.segmentapis.com"
"""Where workspaces in the European Union are."""

MAX_MESSAGE_BYTES = 32_768
"""Of one message, as Segment's HTTP API takes it."""

_ACTION = "track"
_APP = "segment"  # all of it is paused together if Segment refuses the write key
_PEER = Peer("Segment", "the write key", "segment_write_key")
_TIMEOUT = (3.05, 10.0)  # seconds to connect, and between the bytes of the answer
_RETRY = RetryPolicy(
    max_attempts=1_000, base=1.0, cap=600.0, deadline=3 * 24 * 3600.0, retry_after_cap=600.0
)


class SegmentTracking:
    """Takes messages to Segment, through a file of its own that survives the process.

    Its relay sends in the background, tries again for three days, and pauses if Segment refuses the
    write key. Two messages of the same messageId are one: here for a day, and at Segment for longer.

    Args:
        path: The file of the queue, an outbox as any other: the command `outbox` opens it.
        write_key: The write key of a source in Segment.
        host: The base URL of Segment's HTTP API: SEGMENT, SEGMENT_EU, or another for tests.
        hooks: Whom to tell of attempts, retries and outcomes; by default a LoggingHook.

    Raises:
        ConfigurationError: if the write key is empty, or the host is no URL.
        ModuleNotFoundError: if the extra `segment` is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        write_key: str,
        host: str = SEGMENT,
        *,
        hooks: tuple[DeliveryHook, ...] | None = None,
    ) -> None:
        self._url = f"{_checked(write_key, host)}/v1/batch"
        self.outbox: Outbox = Outbox(path, OutboxSettings())
        self._transport = _SegmentTransport(write_key, host)
        self._relay = Relay(
            self.outbox,
            self._transport,
            prepare=lambda request: evolve(request, url=self._url),
            credentials=hashlib.sha256(write_key.encode()).digest(),
            settings=RelaySettings(workers=2, retry=_RETRY),
            hooks=(LoggingHook(),) if hooks is None else hooks,
            peer=_PEER,
        )

    @classmethod
    def beside(cls, outbox: str | Path, write_key: str, host: str = SEGMENT, **more: Any) -> Self:
        """The tracking whose file is beside a destination's outbox: `NAME-to-segment.EXTENSION`."""
        path = Path(outbox)
        return cls(path.with_name(f"{path.stem}-to-segment{path.suffix}"), write_key, host, **more)

    def enqueue(self, message: Mapping[str, Any]) -> Outcome:
        """Store a message that is to go to Segment. It is durable when this returns.

        Args:
            message: A whole message of Segment's HTTP API, such as
                `KochavaDestination.install_attribution` gives. It has a messageId.

        Returns:
            An Outcome of kind QUEUED, or DUPLICATE where the messageId is known.

        Raises:
            InvalidEventPayload: if it is too large for Segment, or no JSON.
            OutboxError: if the file does not take it.
        """
        (outcome,) = self.enqueue_many([message])
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def enqueue_many(self, messages: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """Store messages in one transaction.

        Returns:
            One Outcome per message, in order: QUEUED, DUPLICATE or INVALID.

        Raises:
            OutboxError: as `enqueue`; nothing was stored then.
        """
        outcomes: dict[int, Outcome] = {}
        requests_: dict[int, KochavaRequest] = {}
        for index, message in enumerate(messages):
            try:
                requests_[index] = self._request(message)
            except InvalidEventPayload as error:
                outcomes[index] = Outcome.of_error(index, error)
        new = self.outbox.put([NewEntry(request=request) for request in requests_.values()])
        for (index, request), is_new in zip(requests_.items(), new, strict=True):
            kind = OutcomeKind.QUEUED if is_new else OutcomeKind.DUPLICATE
            outcomes[index] = Outcome(index=index, message_id=request.message_id, kind=kind)
        self._relay.start()
        self._relay.wake()
        return [outcomes[index] for index in range(len(messages))]

    def _request(self, message: Mapping[str, Any]) -> KochavaRequest:
        message_id = message.get("messageId")
        try:
            body = json.dumps(message, allow_nan=False).encode()
        except (TypeError, ValueError):
            raise InvalidEventPayload([Problem("message", "must be JSON")], message_id) from None
        if len(body) > MAX_MESSAGE_BYTES:
            detail = f"has {len(body)} bytes as JSON; Segment takes {MAX_MESSAGE_BYTES}"
            raise InvalidEventPayload([Problem("message", detail)], message_id)
        return KochavaRequest(
            url=self._url,
            headers={},
            body=body,
            # Segment orders by timestamp itself: none has to wait for another.
            ordering_key=f"{_APP}/{message_id}",
            action=_ACTION,
            message_id=message_id,
        )

    def start_relay(self) -> None:
        """Send what the file holds in the background, also after `stop_relay`.

        `enqueue` does this by itself, but not after `stop_relay`.
        """
        self._relay.start(again=True)

    def stop_relay(self, timeout: float = 5.0) -> bool:
        """Finish what is being posted and stop sending; what waits stays in the file.

        Returns:
            Whether everything under way could be finished.
        """
        return self._relay.stop(timeout)

    @property
    def relay_alive(self) -> bool:
        """Whether it is sending in this process, and the file lets it."""
        return self._relay.alive

    def close(self) -> None:
        """Stop sending, and close the file."""
        self.stop_relay()
        with contextlib.suppress(OutboxError):
            self.outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_REQUEST = "segment.analytics.request"


class _SegmentTransport:
    """Posts one message at a time with the request that Segment's own client is built on."""

    def __init__(self, write_key: str, host: str) -> None:
        try:
            # As a module of its own name: mypy has no types for it.
            import_module(_REQUEST)
        except ModuleNotFoundError as error:
            detail = "sending to Segment needs an extra: pip install 'kochava-segment[segment]'"
            raise ModuleNotFoundError(detail, name=error.name) from None
        self._write_key = write_key
        self._host = host
        self.after_fork()
        renew_after_fork(self)
        _keep_quiet()

    def after_fork(self) -> None:
        """Leave the parent's connections alone."""
        self._api = _own_copy(_REQUEST)
        self._session = _OneAddress()
        self._api._session = self._session  # noqa: SLF001  # what it posts with

    def send(self, request: KochavaRequest) -> Answer:
        """Post a message, once."""
        _posting.now = True
        try:
            # Read anew for each attempt: `post` adds to what it is given.
            response = self._api.post(
                self._write_key, self._host, timeout=_TIMEOUT, batch=[request.payload]
            )
        except self._api.APIError as error:
            return Answer(int(error.status), _headers(error.response), b"")
        except requests.RequestException as error:
            raise _failure(error) from None
        finally:
            _posting.now = False
        return Answer(response.status_code, response.headers, b"")

    def close(self) -> None:
        """Close all connections."""
        self._session.close()


class _OneAddress(requests.Session):
    """Posts to the address it is given: to none that an answer names, and with no key but ours.

    The session of Segment's module follows redirects, and takes another key from `~/.netrc`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is

    def get_redirect_target(self, _response: requests.Response) -> None:
        """There is none."""


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _own_copy(name: str) -> Any:
    """A module, loaded once more: what is changed in it is changed for nobody else."""
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{name} cannot be loaded", name=name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _headers(response: Any) -> Mapping[str, str]:
    return {} if response is None else dict(response.headers)


def _failure(error: requests.RequestException) -> TransportFailure:
    # A connection that was never made has sent nothing. Messages of requests quote URLs.
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    unsent = isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)
    what = "Segment was not reached" if unsent else "Segment's answer was lost"
    return TransportFailure(f"{what}: {type(error).__name__}", maybe_sent=not unsent)


def _checked(write_key: str, host: str) -> str:
    problems = []
    if not write_key.strip():
        problems.append(Problem("segment_write_key", "is empty: a source in Segment has one"))
    try:
        base = kinds.ENDPOINT.check(host)
    except ValueError as error:
        problems.append(Problem("segment_host", str(error)))
    if problems:
        raise ConfigurationError(problems)
    return str(base)


_posting = threading.local()


class _WithoutContent(logging.Filter):
    """Holds back what Segment's module logs while it posts for us: it logs whole messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or not getattr(_posting, "now", False)


_filter = _WithoutContent()


def _keep_quiet() -> None:
    logging.getLogger("segment").addFilter(_filter)  # a second time does nothing
