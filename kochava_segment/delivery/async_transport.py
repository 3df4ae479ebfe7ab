"""The seam to the network of AsyncKochavaDestination, and the transport that it gets by default."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any, Protocol, runtime_checkable

from kochava_segment.delivery.answer import Answer
from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.request import KochavaRequest

_NO_AIOHTTP = "aiohttp is not installed: pip install 'kochava-segment[async]'"


class AsyncTransport(Protocol):
    """What posts a request, once, without blocking the event loop."""

    async def send(self, request: KochavaRequest, /) -> Answer:
        """Post a request and give the answer, whatever its status.

        Raises:
            TransportFailure: if no answer came. Any other Exception that it raises counts as a
                failure in which the request may have been sent.
        """
        ...

    async def close(self) -> None:
        """Release what it holds. Called once or more."""
        ...


@runtime_checkable
class PunctualAsyncTransport(AsyncTransport, Protocol):
    """A transport that can be told how long one request may take."""

    async def send_within(self, request: KochavaRequest, seconds: float, /) -> Answer:
        """As `send`, and over after so many seconds, if its own timeouts do not end it before."""
        ...


def make_async_transport(wanted: Any, timeout: tuple[float, float]) -> AsyncTransport:
    """The asynchronous transport for the option `transport`.

    Args:
        wanted: The option: a transport, or None for aiohttp.
        timeout: Seconds to wait for a connection, and for the whole answer.

    Raises:
        ConfigurationError: if it is a synchronous one, or aiohttp is not installed.
    """
    if wanted is not None:
        if not iscoroutinefunction(getattr(wanted, "send", None)):
            detail = (
                "must be an AsyncTransport here, with `async def send`; by default it is aiohttp"
            )
            raise ConfigurationError([Problem("transport", detail)])
        transport: AsyncTransport = wanted
        return transport
    try:
        from kochava_segment.delivery.aiohttp_transport import (  # noqa: PLC0415  # an extra
            AiohttpTransport,
        )
    except ImportError:
        raise ConfigurationError([Problem("transport", _NO_AIOHTTP)]) from None
    return AiohttpTransport(timeout)
