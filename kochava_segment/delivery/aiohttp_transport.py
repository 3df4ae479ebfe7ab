"""The transport of AsyncKochavaDestination: aiohttp. It needs the extra `async`."""

from __future__ import annotations

import asyncio
import os.path
import ssl
from typing import Any

import aiohttp
import certifi
from aiohttp.payload import BytesPayload
from attrs import frozen
from yarl import URL

from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.network_settings import network_settings
from kochava_segment.delivery.transport import MAX_ANSWER_BYTES, standard_headers
from kochava_segment.request import KochavaRequest

_NO_ROUNDING = 1e9  # seconds up to which aiohttp keeps a timeout as it is, rather than round it up


class AiohttpTransport:
    """Posts requests over HTTP with aiohttp, in one event loop.

    The same rules as for the other transports: proxies and CA certificates from the environment,
    resolved once; TLS always verified; no redirects, cookies or netrc.

    Args:
        timeout: Seconds to wait for a connection, and for the whole attempt: here, what connecting
            takes counts against the answer's time.
    """

    def __init__(self, timeout: tuple[float, float] = (3.05, 10.0)) -> None:
        self._connect, self._total = timeout
        self._usual_timeout = self._timeout_of(self._total)
        self._session: aiohttp.ClientSession | None = None
        self._routes: dict[str, _Route] = {}
        self._closed = False

    async def send(self, request: KochavaRequest) -> Answer:
        """Post a request once.

        Raises:
            TransportFailure: if no answer came.
        """
        return await self._send(request, self._usual_timeout)

    async def send_within(self, request: KochavaRequest, seconds: float) -> Answer:
        """Post a request once, connection and answer within so many seconds.

        Raises:
            TransportFailure: if no answer came.
        """
        return await self._send(request, self._timeout_of(min(self._total, seconds)))

    def _timeout_of(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total, connect=self._connect, ceil_threshold=_NO_ROUNDING
        )

    async def _send(self, request: KochavaRequest, timeout: aiohttp.ClientTimeout) -> Answer:
        if self._closed:
            raise TransportFailure("the transport is closed", maybe_sent=False)
        route = self._routes.get(request.url)
        if route is None:
            route = self._routes[request.url] = _find_route(request.url)
        body = _Body(request.body)
        try:
            async with self._opened_session().post(
                route.url,
                data=body,
                headers=request.headers,  # on top of the session's
                allow_redirects=False,
                proxy=route.proxy,
                ssl=route.tls,
                timeout=timeout,
            ) as response:
                return await _answer(response)
        except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError) as error:
            raise _failure(error, maybe_sent=body.may_have_left) from None

    async def close(self) -> None:
        """Close all connections, for good."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:  # it belongs to the loop that is running now
            self._session = aiohttp.ClientSession(
                headers=standard_headers(),
                connector=aiohttp.TCPConnector(limit=0),  # how many at once is decided elsewhere
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # it was asked not to be compressed
            )
        return self._session


@frozen
class _Route:
    """How to get to a URL."""

    url: URL
    proxy: str | None
    tls: ssl.SSLContext | bool


def _find_route(url: str) -> _Route:
    settings = network_settings(url)
    tls: ssl.SSLContext | bool = True
    if url.startswith("https:"):
        bundle = certifi.where() if settings.ca_bundle is None else settings.ca_bundle
        kind = "capath" if os.path.isdir(bundle) else "cafile"  # noqa: PTH112
        tls = ssl.create_default_context(**{kind: bundle})  # type: ignore[arg-type]
    return _Route(URL(url, encoded=True), settings.proxy, tls)


class _Body(BytesPayload):
    """Notes when it is written: a request of which Kochava has no body cannot have been counted."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self.may_have_left = False

    async def write(self, writer: Any) -> None:
        self.may_have_left = True
        await super().write(writer)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self.may_have_left = True  # what newer versions of aiohttp call
        await super().write_with_length(writer, content_length)


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    body = b""
    try:
        while len(body) < MAX_ANSWER_BYTES and not response.content.at_eof():
            body += await response.content.read(MAX_ANSWER_BYTES - len(body))
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        # A broken error page is an error all the same. A broken success might say "success": "0".
        if response.status < 300:
            raise
    return Answer(response.status, response.headers, body)


def _failure(error: Exception, *, maybe_sent: bool) -> TransportFailure:
    what = "the answer was lost" if maybe_sent else "Kochava was not reached"
    # Messages of aiohttp quote hosts and URLs; the kind says enough.
    return TransportFailure(f"{what}: {type(error).__name__}", maybe_sent=maybe_sent)
