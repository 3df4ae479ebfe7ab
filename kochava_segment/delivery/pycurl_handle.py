"""One libcurl handle, which posts one request at a time over a connection of its own."""

from __future__ import annotations

import io
import os.path
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import certifi
import pycurl
from pycurl import ACTIVESOCKET  # since 7.46; older ones take what is no HTTP for an answer

from kochava_segment.delivery.answer import Answer, Headers, TransportFailure
from kochava_segment.delivery.network_settings import network_settings
from kochava_segment.delivery.sockets import ready
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


class Handle:
    """A libcurl handle, with what it collects of an answer.

    Options that are set stay set, and few change from one request to the next. Its connection is its
    own, also where several handles work together: else nobody could tell which one a request will
    take, and whether the server has closed that meanwhile.

    Args:
        connect_ms: Milliseconds to wait for a connection.

    Attributes:
        curl: What libcurl knows it by.
        socket: The number of its connection's socket, -1 where it has none.
    """

    def __init__(self, connect_ms: int) -> None:
        self.curl = curl = pycurl.Curl()
        self._own = pycurl.CurlShare()
        self._own.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        self.socket = -1
        self._url = self._origin = ""
        self._headers: Mapping[str, str] | None = None
        self._total_ms = 0
        self._connects_anew = False
        self._lines: list[bytes] = []
        self._body = b""
        for option, value in (
            (pycurl.SHARE, self._own),
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
        """Post a request, and wait for its answer.

        Args:
            request: What is posted.
            total_ms: Milliseconds that it takes at most; 0 for any number.

        Raises:
            TransportFailure: if no answer came.
        """
        self.prepare(request, total_ms)
        renew_stale((self,))
        try:
            self.curl.perform()
        except pycurl.error as error:
            return self.answer(int(error.args[0]))
        return self.answer()

    def prepare(self, request: KochavaRequest, total_ms: int) -> None:
        """Make it ready to post a request."""
        curl, body = self.curl, request.body
        if request.url != self._url:
            self._reach(request.url)
        if request.headers != self._headers:
            curl.setopt(pycurl.HTTPHEADER, _header_lines(request.headers))
            self._headers = request.headers
        self._lines.clear()
        self._body = b""
        if total_ms != self._total_ms:
            curl.setopt(pycurl.TIMEOUT_MS, total_ms)
            self._total_ms = total_ms
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        # Read once and never rewound: else libcurl would post a second time, in silence, where the
        # server closes a connection that was kept open just after it has read the request.
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)

    def connect_anew(self, anew: bool) -> None:  # noqa: FBT001  # what else would it be
        """Whether the next request takes a connection of its own, and leaves the last one alone."""
        if anew != self._connects_anew:
            self.curl.setopt(pycurl.FRESH_CONNECT, anew)
            self._connects_anew = anew

    def answer(self, code: int | None = None) -> Answer:
        """The answer, after a transfer that is over; with libcurl's error, if it ended with one.

        Raises:
            TransportFailure: if no answer came.
        """
        curl = self.curl
        if code is not None:
            self._judge(code)
        self.socket = curl.getinfo(ACTIVESOCKET)
        headers = Headers(partial(_parsed, tuple(self._lines)))
        return Answer(curl.getinfo(pycurl.RESPONSE_CODE), headers, self._body)

    def close(self) -> None:
        """Close its connection."""
        self.curl.close()
        self._own.close()

    def _reach(self, url: str) -> None:
        """Set the URL; and how to get to its origin, if that is another than before."""
        origin = url.partition("://")[2].partition("/")[0]
        if origin != self._origin:
            settings = network_settings(url)
            bundle = certifi.where() if settings.ca_bundle is None else settings.ca_bundle
            option = pycurl.CAPATH if os.path.isdir(bundle) else pycurl.CAINFO  # noqa: PTH112
            self.curl.setopt(option, bundle)
            self.curl.setopt(pycurl.PROXY, settings.proxy or "")
            self._origin = origin
        self.curl.setopt(pycurl.URL, url)
        self._url = url

    def _write(self, data: bytes) -> int | None:
        room = MAX_ANSWER_BYTES - len(self._body)
        self._body += data[:room]
        return None if len(data) <= room else 0  # ends the transfer

    def _judge(self, code: int) -> None:
        """Raise what a failed transfer means, if it does not mean that the answer was long enough."""
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if code == pycurl.E_WRITE_ERROR and len(self._body) >= MAX_ANSWER_BYTES:
            return
        # A broken error page is an error all the same. A broken success might say "success": "0".
        if status >= 300:
            return
        maybe_sent = code not in _NEVER_SENT and self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        what = "the answer was lost" if maybe_sent else "Kochava was not reached"
        # libcurl's sentences quote hosts and URLs; its numbers say enough.
        raise TransportFailure(f"{what}: libcurl error {code}", maybe_sent=maybe_sent) from None


def renew_stale(handles: Sequence[Handle]) -> None:
    """Have those handles connect anew whose connection the server has closed meanwhile.

    libcurl does not look in the first second, and would send the request into the void. What there is
    to read between answers can only be the end.
    """
    sockets = [handle.socket for handle in handles if handle.socket >= 0]
    stale = ready(sockets, (), 0.0) if sockets else ()
    for handle in handles:
        handle.connect_anew(handle.socket in stale)


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
