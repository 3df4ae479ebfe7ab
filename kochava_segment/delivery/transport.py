"""The seam to the network, and two transports that never touch it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar, runtime_checkable

from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.request import KochavaRequest

MAX_ANSWER_BYTES = 65_536
"""Of an answer's body; the rest is not read."""

_Tag = TypeVar("_Tag")
_ACCEPTED = Answer(200, {"content-type": "application/json"}, b'{"success":"1"}')


@cache
def user_agent() -> str:
    """The `User-Agent` of requests that do not carry one, such as `kochava-segment/0.1.0`."""
    try:
        return f"kochava-segment/{version('kochava-segment')}"
    except PackageNotFoundError:  # the package was copied somewhere without its metadata
        return "kochava-segment"


def standard_headers() -> dict[str, str]:
    """The headers of every request, which its own come on top of."""
    return {
        "User-Agent": user_agent(),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }


class Transport(Protocol):
    """What posts a request, once. Retries, pace and bookkeeping are not its business."""

    def send(self, request: KochavaRequest, /) -> Answer:
        """Post a request and give the answer, whatever its status. Called from many threads.

        Raises:
            TransportFailure: if no answer came. Anything else that it raises counts as a failure in
                which the request may have been sent.
        """
        ...

    def close(self) -> None:
        """Release what it holds. Called once or more."""
        ...


@runtime_checkable
class PunctualTransport(Transport, Protocol):
    """A transport that can be told how long one request may take."""

    def send_within(self, request: KochavaRequest, seconds: float, /) -> Answer:
        """As `send`, and over after so many seconds, if its own timeouts do not end it before."""
        ...


class Transfers(Protocol[_Tag]):
    """Requests that are under way at once. All but `wake` is called in one thread."""

    def start(self, tag: _Tag, request: KochavaRequest, seconds: float | None = None, /) -> None:
        """Post a request once, within so many seconds, if its own timeouts do not end it before.

        Raises:
            TransportFailure: if that is in vain already.
        """
        ...

    def wait(self, seconds: float, /) -> Sequence[tuple[_Tag, Answer | TransportFailure]]:
        """What came of those that are over, by their tags; waits so long at most for the first."""
        ...

    def wake(self) -> None:
        """End a wait, or the next one. Called from any thread, and from handlers of signals."""
        ...

    def close(self) -> None:
        """Break off what is under way, and release the connections."""
        ...


@runtime_checkable
class MultiTransport(Transport, Protocol):
    """A transport that can have many requests under way in one thread."""

    def transfers(self) -> Transfers[Any]:
        """A new set of them."""
        ...


class DryRunTransport:
    """Sends nothing and accepts everything: the whole path of a message without a network.

    Attributes:
        sent: How many requests it was given.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: int = 0

    def send(self, request: KochavaRequest) -> Answer:  # noqa: ARG002
        """Accept a request."""
        with self._lock:
            self.sent += 1
        return _ACCEPTED

    def close(self) -> None:
        """Nothing to release."""


class RecordingTransport:
    """Keeps the requests it is given and answers as it is told: for your own tests.

    Args:
        answer: Gives the answer to each request, or raises TransportFailure; by default Kochava's
            success.
    """

    def __init__(self, answer: Callable[[KochavaRequest], Answer] | None = None) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._requests: list[KochavaRequest] = []

    @property
    def requests(self) -> tuple[KochavaRequest, ...]:
        """The requests so far, in the order in which they came."""
        with self._lock:
            return tuple(self._requests)

    def send(self, request: KochavaRequest) -> Answer:
        """Keep a request and answer it."""
        with self._lock:
            self._requests.append(request)
        return _ACCEPTED if self._answer is None else self._answer(request)

    def close(self) -> None:
        """Nothing to release."""
