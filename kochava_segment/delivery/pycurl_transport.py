"""The fast transport: libcurl, through pycurl. It needs the extra `fast`.

A libcurl handle holds its own connections and serves one request at a time, so that handles are
pooled: the one that was used last is taken first, which keeps few connections busy.
"""

from __future__ import annotations

import io
import os.path
import select
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial

import certifi
import pycurl
from pycurl import ACTIVESOCKET  # since 7.46; older ones take what is no HTTP for an answer

from kochava_segment.delivery.after_fork import keep_for_ever, renew_after_fork
from kochava_segment.delivery.answer import Answer, Headers, TransportFailure
from kochava_segment.delivery.network_settings import network_settings
from kochava_segment.delivery.transport import MAX_ANSWER_BYTES, standard_headers
from kochava_segment.request import KochavaRequest

# Errors after which libcurl has surely not sent a byte of the request.
_NEVER_SENT = frozenset(
    {
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_COULDNT_RESOLVE_PROXY,
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_CACERT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_PEER_FAILED_VERIFICATION,
    }
)


class PycurlTransport:
    """Posts requests over HTTP with libcurl, with several times the pace of RequestsTransport.

    The same rules: proxies and CA certificates from the environment, resolved once; TLS always
    verified; no redirects, cookies or netrc.

    Args:
        timeout: Seconds to wait for a connection, and for the whole attempt: here, what connecting
            takes counts against the answer's time.
        pool_size: Handles, each with its connection, that are kept.
    """

    def __init__(self, timeout: tuple[float, float] = (3.05, 10.0), pool_size: int = 256) -> None:
        connect, total = timeout
        self._connect_ms, self._total_ms = int(connect * 1000), int(total * 1000)
        self._pool_size = pool_size
        self._closed = False
        self._handles: deque[_Handle] = deque()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the parent's connections alone: closing them would end TLS for the parent as well."""
        for handle in self._handles:
            keep_for_ever(handle)
        self._handles = deque()

    def send(self, request: KochavaRequest) -> Answer:
        """Post a request once.

        Raises:
            TransportFailure: if no answer came.
        """
        return self._send(request, self._total_ms)

    def send_within(self, request: KochavaRequest, seconds: float) -> Answer:
        """Post a request once, connection and answer within so many seconds.

        Raises:
            TransportFailure: if no answer came.
        """
        # To libcurl, 0 means for ever.
        return self._send(request, min(self._total_ms, max(1, int(seconds * 1000))))

    def _send(self, request: KochavaRequest, total_ms: int) -> Answer:
        if self._closed:
            raise TransportFailure("the transport is closed", maybe_sent=False)
        try:
            handle = self._handles.pop()
        except IndexError:
            handle = _Handle(self._connect_ms)
        try:
            return handle.post(request, total_ms)
        finally:
            self._give_back(handle)

    def _give_back(self, handle: _Handle) -> None:
        if self._closed or len(self._handles) >= self._pool_size:
            handle.close()
        else:
            self._handles.append(handle)

    def close(self) -> None:
        """Close all connections, for good; those in use, when they come back."""
        self._closed = True
        while self._handles:
            self._handles.pop().close()


class _Handle:
    """One libcurl handle, with what it collects of an answer.

    Options that are set stay set, and few change from one request to the next.
    """

    def __init__(self, connect_ms: int) -> None:
        self._curl = curl = pycurl.Curl()
        self._url = self._origin = ""
        self._headers: Mapping[str, str] | None = None
        self._connection = _Connection()
        self._lines: list[bytes] = []
        self._body = b""
        for option, value in (
            (pycurl.POST, 1),
            (pycurl.NOSIGNAL, 1),  # of its signals, none would reach a thread
            (pycurl.CONNECTTIMEOUT_MS, connect_ms),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.NETRC, 0),
            (pycurl.SSL_VERIFYPEER, 1),
            (pycurl.SSL_VERIFYHOST, 2),
            (pycurl.PROXY, ""),  # not what libcurl itself finds in the environment
            (pycurl.WRITEFUNCTION, self._write),
            (pycurl.HEADERFUNCTION, self._lines.append),
        ):
            curl.setopt(option, value)

    def post(self, request: KochavaRequest, total_ms: int) -> Answer:
        curl, body = self._curl, request.body
        if request.url != self._url:
            self._reach(request.url)
        if request.headers != self._headers:
            curl.setopt(pycurl.HTTPHEADER, _header_lines(request.headers))
            self._headers = request.headers
        self._lines.clear()
        self._body = b""
        curl.setopt(pycurl.TIMEOUT_MS, total_ms)
        curl.setopt(pycurl.FRESH_CONNECT, self._connection.is_stale())
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        # Read once and never rewound: else libcurl would post a second time, in silence, where the
        # server closes a connection that was kept open just after it has read the request.
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        try:
            curl.perform()
        except pycurl.error as error:
            self._judge(int(error.args[0]))
        self._connection.is_at(curl.getinfo(ACTIVESOCKET))
        headers = Headers(partial(_parsed, tuple(self._lines)))
        return Answer(curl.getinfo(pycurl.RESPONSE_CODE), headers, self._body)

    def close(self) -> None:
        self._curl.close()

    def _reach(self, url: str) -> None:
        """Set the URL; and how to get to its origin, if that is another than before."""
        origin = url.partition("://")[2].partition("/")[0]
        if origin != self._origin:
            settings = network_settings(url)
            bundle = certifi.where() if settings.ca_bundle is None else settings.ca_bundle
            option = pycurl.CAPATH if os.path.isdir(bundle) else pycurl.CAINFO  # noqa: PTH112
            self._curl.setopt(option, bundle)
            self._curl.setopt(pycurl.PROXY, settings.proxy or "")
            self._origin = origin
        self._curl.setopt(pycurl.URL, url)
        self._url = url

    def _write(self, data: bytes) -> int | None:
        room = MAX_ANSWER_BYTES - len(self._body)
        self._body += data[:room]
        return None if len(data) <= room else 0  # ends the transfer

    def _judge(self, code: int) -> None:
        """Raise what a failed transfer means, if it does not mean that the answer was long enough."""
        status = self._curl.getinfo(pycurl.RESPONSE_CODE)
        if code == pycurl.E_WRITE_ERROR and len(self._body) >= MAX_ANSWER_BYTES:
            return
        # A broken error page is an error all the same. A broken success might say "success": "0".
        if status >= 300:
            return
        maybe_sent = code not in _NEVER_SENT and self._curl.getinfo(pycurl.REQUEST_SIZE) > 0
        what = "the answer was lost" if maybe_sent else "Kochava was not reached"
        # libcurl's sentences quote hosts and URLs; its numbers say enough.
        raise TransportFailure(f"{what}: libcurl error {code}", maybe_sent=maybe_sent) from None


class _Connection:
    """The connection that was used last: whether the server has closed it meanwhile.

    libcurl does not look in the first second, and would send the request into the void.
    """

    def __init__(self) -> None:
        self._socket = -1
        self._poll = select.poll() if hasattr(select, "poll") else None  # Windows has none

    def is_at(self, socket: int) -> None:
        """Note the number of its socket, -1 where it was closed."""
        if socket != self._socket:
            if self._poll is not None and self._socket >= 0:
                self._poll.unregister(self._socket)
            if self._poll is not None and socket >= 0:
                self._poll.register(socket, select.POLLIN)
            self._socket = socket

    def is_stale(self) -> bool:
        """Whether there is something to read, which between answers can only be its end."""
        if self._socket < 0:
            return False
        if self._poll is not None:
            return bool(self._poll.poll(0))
        from urllib3.util.wait import wait_for_read  # noqa: PLC0415  # which has ways for Windows

        # It asks for a socket, and needs no more of it than its number.
        return wait_for_read(self._socket, timeout=0)  # type: ignore[arg-type]


def _header_lines(own: Mapping[str, str]) -> list[str]:
    headers = {**standard_headers(), "Expect": "", **own}
    return [f"{name}: {value}" for name, value in headers.items()]


def _parsed(lines: Iterable[bytes]) -> Iterable[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, separator, value = line.decode("latin-1").partition(":")
        if line.startswith(b"HTTP/"):  # what came before is a proxy's, or of 100 Continue
            headers.clear()
        elif separator:
            headers.append((name.strip(), value.strip()))
    return headers
