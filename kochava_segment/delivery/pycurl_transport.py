"""The fast transport: libcurl, through pycurl. It needs the extra `fast`.

A libcurl handle holds its own connections and serves one request at a time, so that handles are
pooled: the one that was used last is taken first, which keeps few connections busy.
"""

from __future__ import annotations

from collections import deque

from kochava_segment.delivery.after_fork import keep_for_ever, renew_after_fork
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.pycurl_handle import Handle
from kochava_segment.delivery.pycurl_transfers import PycurlTransfers
from kochava_segment.request import KochavaRequest


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
        self._handles: deque[Handle] = deque()
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
        handle = self._take()
        try:
            return handle.post(request, total_ms)
        finally:
            self._give_back(handle)

    def transfers(self) -> PycurlTransfers:
        """A set of requests that are under way in one thread."""
        return PycurlTransfers(self._total_ms / 1000, self._take, self._give_back)

    def _take(self) -> Handle:
        if self._closed:
            raise TransportFailure("the transport is closed", maybe_sent=False)
        try:
            return self._handles.pop()
        except IndexError:
            return Handle(self._connect_ms)

    def _give_back(self, handle: Handle) -> None:
        if self._closed or len(self._handles) >= self._pool_size:
            handle.close()
        else:
            self._handles.append(handle)

    def close(self) -> None:
        """Close all connections, for good; those in use, when they come back."""
        self._closed = True
        while self._handles:
            self._handles.pop().close()
