"""The default transport: requests, with prepared requests straight through its HTTPAdapter.

That skips what a Session does anew for every request, and is still what `responses` intercepts.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.answer import Answer, Headers, TransportFailure
from kochava_segment.delivery.network_settings import network_settings
from kochava_segment.delivery.transport import MAX_ANSWER_BYTES, standard_headers
from kochava_segment.request import KochavaRequest

# Whether bytes of this thread's request may have left. Connections are used by one thread at a time.
_progress = threading.local()


class RequestsTransport:
    """Posts requests over HTTP with the requests library.

    Proxies and CA certificates come from the environment, resolved once. TLS is always verified;
    redirects, cookies and netrc are not for signed bodies and are never followed, kept or read.

    Args:
        timeout: Seconds to wait for a connection, and for the whole answer.
        pool_size: Connections that are kept open; as many as there are threads that send.
    """

    def __init__(self, timeout: tuple[float, float] = (3.05, 10.0), pool_size: int = 256) -> None:
        self._timeout = timeout
        self._pool_size = pool_size
        self._closed = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the parent's connections alone: their answers would be mixed up."""
        self._adapter = _Adapter(self._pool_size)
        self._settings: dict[str, dict[str, Any]] = {}

    def send(self, request: KochavaRequest) -> Answer:
        """Post a request once.

        Raises:
            TransportFailure: if no answer came.
        """
        return self._send(request, self._timeout)

    def send_within(self, request: KochavaRequest, seconds: float) -> Answer:
        """Post a request once, connection and answer within so many seconds.

        Looking up the host's name is up to the system, and not part of them.

        Raises:
            TransportFailure: if no answer came.
        """
        connect, read = self._timeout
        return self._send(request, Timeout(total=seconds, connect=connect, read=read))

    def _send(self, request: KochavaRequest, timeout: Any) -> Answer:
        if self._closed:
            raise TransportFailure("the transport is closed", maybe_sent=False)
        _progress.may_have_left = False
        try:
            settings = self._settings_for(request.url)
            response = self._adapter.send(
                _prepared(request), stream=True, timeout=timeout, **settings
            )
            with response:
                return _answer(response)
        except (OSError, HTTPError, ValueError) as error:  # requests lets some of each through
            raise _failure(error) from None

    def close(self) -> None:
        """Close all connections, for good."""
        self._closed = True
        self._adapter.close()

    def _settings_for(self, url: str) -> dict[str, Any]:
        origin = url.partition("://")[2].partition("/")[0]
        settings = self._settings.get(origin)
        if settings is None:
            found = network_settings(url)
            verify = found.ca_bundle or True
            settings = {"proxies": found.proxies, "verify": verify, "cert": None}
            self._settings[origin] = settings
        return settings


def _prepared(request: KochavaRequest) -> requests.PreparedRequest:
    prepared = requests.PreparedRequest()
    prepared.method = request.method
    prepared.url = request.url
    prepared.headers = CaseInsensitiveDict(
        {
            **standard_headers(),
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
    )
    prepared.body = request.body
    prepared.hooks = {"response": []}
    return prepared


def _answer(response: requests.Response) -> Answer:
    body = b""
    try:
        body = response.raw.read(MAX_ANSWER_BYTES, decode_content=True)
    except (HTTPError, OSError) as error:
        # A broken error page is an error all the same. A broken success might say "success": "0".
        if 200 <= response.status_code < 300:
            detail = f"the answer broke off: {type(error).__name__}"
            raise TransportFailure(detail, maybe_sent=True) from None
    return Answer(response.status_code, Headers(response.headers.items), body)


def _failure(error: Exception) -> TransportFailure:
    # Messages of requests and urllib3 quote URLs and hosts; the kinds say enough.
    kinds = [type(error).__name__]
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None) or cause
    if isinstance(reason, Exception):
        kinds.append(type(reason).__name__)
    maybe_sent = getattr(_progress, "may_have_left", True)
    what = "the answer was lost" if maybe_sent else "Kochava was not reached"
    return TransportFailure(f"{what}: {', '.join(kinds)}", maybe_sent=maybe_sent)


class _BoundedRaw(io.RawIOBase):
    """What a socket reads, until a deadline: a trickle must not hold a thread for ever."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        timeout: Any = sock.gettimeout()  # there always is one
        self._deadline = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """What http.client wants of a socket when it reads an answer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedRaw(self._sock))


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_BoundedSocket(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Progress:
    """Notes when bytes of a request may have left; a connection, TLS and proxy included, is none.

    Head and body leave together: one system call, one packet.
    """

    sock: Any
    _held: list[bytes] | None = None  # what is to leave, while the request is put together

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        finally:
            _progress.may_have_left = False

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._held = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
            whole = b"".join(self._held)
        finally:
            self._held = None
        self.send(whole)

    def putheader(self, header: Any, *values: Any) -> None:
        # Past urllib3's own, which looks whether the header is one to be left out.
        http.client.HTTPConnection.putheader(self, header, *values)  # type: ignore[arg-type]

    def send(self, data: Any) -> None:
        if self._held is not None:
            self._held.append(data)
            return
        if self.sock is None:
            self.connect()
        _progress.may_have_left = True
        super().send(data)  # type: ignore[misc]


class _Connection(_Progress, HTTPConnection):
    response_class = _BoundedResponse


class _TlsConnection(_Progress, HTTPSConnection):
    response_class = _BoundedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """An HTTPAdapter for few URLs: what it would find out for each request, it remembers.

    All that is overridden is documented as being there to be overridden.
    """

    def __init__(self, pool_size: int) -> None:
        super().__init__(pool_connections=4, pool_maxsize=pool_size, max_retries=0)
        self._pools: dict[str, Any] = {}  # by URL, of which there is one for each action; so
        self._targets: dict[str, str] = {}  # are what stands in the request's first line

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        pool = self._pools.get(request.url)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            super().cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call]
            self._pools[request.url] = pool
        return pool

    def cert_verify(self, *_: Any) -> None:
        """Done, when the pool was made."""

    def close(self) -> None:
        self._pools.clear()  # urllib3 closes the connections of those that nobody holds
        super().close()

    def request_url(self, request: Any, proxies: Any) -> str:
        target = self._targets.get(request.url)
        if target is None:
            target = super().request_url(request, proxies)
            self._targets[request.url] = target
        return target

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """An answer without what nobody reads of it: no cookies, no encoding."""
        response = requests.Response()
        response.status_code, response.reason = resp.status, resp.reason
        response.headers, response.raw, response.url = resp.headers, resp, req.url
        response.request = req
        return response
