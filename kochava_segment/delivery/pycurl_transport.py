"""The fast transport: libcurl, through pycurl. It needs the extra `fast`.

A libcurl handle holds its own connections and serves one request at a time, so that handles are
pooled: the one that was used last is taken first, which keeps few connections busy.
"""

from __future__ import annotations

import io
import os.path
from collections import deque

import certifi
import pycurl
from urllib3.util.wait import wait_for_read

from kochava_segment.delivery.after_fork import keep_for_ever, renew_after_fork
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.network_settings import network_settings
from kochava_segment.delivery.transport import MAX_ANSWER_BYTES, user_agent
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
    """One libcurl handle, with what it collects of an answer."""

    def __init__(self, connect_ms: int) -> None:
        self._curl = curl = pycurl.Curl()
        self._origin = ""
        self._socket = -1  # of the connection that was used last
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
            (pycurl.HEADERFUNCTION, self._header),
        ):
            curl.setopt(option, value)

    def post(self, request: KochavaRequest, total_ms: int) -> Answer:
        curl, body = self._curl, request.body
        self._reach(request.url)
        self._lines, self._body = [], b""
        headers = {
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Expect": "",
            **request.headers,
        }
        curl.setopt(pycurl.TIMEOUT_MS, total_ms)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
        curl.setopt(pycurl.FRESH_CONNECT, self._is_stale())
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        # Read once and never rewound: else libcurl would post a second time, in silence, where the
        # server closes a connection that was kept open just after it has read the request.
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        try:
            curl.perform()
        except pycurl.error as error:
            self._judge(int(error.args[0]))
        self._socket = curl.getinfo(pycurl.ACTIVESOCKET)
        return Answer(curl.getinfo(pycurl.RESPONSE_CODE), _headers(self._lines), self._body)

    def close(self) -> None:
        self._curl.close()

    def _reach(self, url: str) -> None:
        """Set how to get to an origin, if it is another than before."""
        origin = url.partition("://")[2].partition("/")[0]
        if origin == self._origin:
            return
        settings = network_settings(url)
        bundle = certifi.where() if settings.ca_bundle is None else settings.ca_bundle
        option = pycurl.CAPATH if os.path.isdir(bundle) else pycurl.CAINFO  # noqa: PTH112
        self._curl.setopt(option, bundle)
        self._curl.setopt(pycurl.PROXY, settings.proxy or "")
        self._origin = origin

    def _is_stale(self) -> bool:
        """Whether the server has closed the connection: there is something to read between answers.

        libcurl does not look in the first second, and would send the request into the void.
        """
        # It asks for a socket, and needs no more of it than its number.
        return self._socket >= 0 and wait_for_read(self._socket, timeout=0)  # type: ignore[arg-type]

    def _write(self, data: bytes) -> int | None:
        room = MAX_ANSWER_BYTES - len(self._body)
        self._body += data[:room]
        return None if len(data) <= room else 0  # ends the transfer

    def _header(self, line: bytes) -> None:
        if line.startswith(
            b"HTTP/"
        ):  # of a proxy's answer, or of 100 Continue, before the real one
            self._lines = []
        else:
            self._lines.append(line)

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


def _headers(lines: list[bytes]) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
