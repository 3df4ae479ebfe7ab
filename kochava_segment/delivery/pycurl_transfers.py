"""Many requests under way in one thread: libcurl's multi interface."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pycurl
from attrs import define

from kochava_segment.delivery.after_fork import keep_for_ever, renew_after_fork
from kochava_segment.delivery.answer import Answer, TransportFailure
from kochava_segment.delivery.pycurl_handle import Handle, renew_stale
from kochava_segment.delivery.sockets import ready
from kochava_segment.request import KochavaRequest

# Seconds. libcurl does not tell of sockets with numbers from 1024 on, where `select` ends.
_WITHOUT_SOCKET = 0.005


@define(eq=False)
class _Transfer:
    """A request under way, and when it has to be over."""

    tag: Any
    handle: Handle
    until: float


class PycurlTransfers:
    """Requests that are under way at once.

    libcurl's own timeout would take an answer for lost that came while this thread was held up, so that
    time is kept here: what has come is read before it is looked at.

    Args:
        timeout: Seconds that a request takes at most.
        take: Gives a handle.
        give_back: Takes it back.
    """

    def __init__(
        self, timeout: float, take: Callable[[], Handle], give_back: Callable[[Handle], None]
    ) -> None:
        self._timeout = timeout
        self._take = take
        self._give_back = give_back
        self._multi = pycurl.CurlMulti()
        self._under_way: dict[pycurl.Curl, _Transfer] = {}
        self._starting: list[Handle] = []  # with the next wait, all together
        self._first_until = float("inf")  # or before
        self._wakes, self._waker = socket.socketpair()
        for end in (self._wakes, self._waker):
            end.settimeout(0)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the parent's connections alone: closing them would end TLS for the parent as well."""
        keep_for_ever(self)

    def start(self, tag: Any, request: KochavaRequest, seconds: float | None = None) -> None:
        """Post a request once.

        Raises:
            TransportFailure: if the transport is closed.
        """
        handle = self._take()
        timeout = self._timeout if seconds is None else min(self._timeout, seconds)
        until = time.monotonic() + timeout
        handle.prepare(request, total_ms=0)
        self._starting.append(handle)
        self._under_way[handle.curl] = _Transfer(tag, handle, until)
        self._first_until = min(self._first_until, until)

    def wait(self, seconds: float) -> list[tuple[Any, Answer | TransportFailure]]:
        """What came of those that are over; waits so long at most for the first."""
        over = self._perform()
        if not over and seconds > 0:
            self._sleep(seconds)
            over = self._perform()
        return over

    def wake(self) -> None:
        """End a wait, or the next one."""
        try:
            self._waker.send(b"\0")
        except OSError:  # it has been woken often enough, or is closed
            return

    def close(self) -> None:
        """Break off what is under way."""
        self._add_starting()  # so that all are where libcurl expects them
        for curl in tuple(self._under_way):
            self._finish(curl, pycurl.E_ABORTED_BY_CALLBACK)
        self._multi.close()
        self._wakes.close()
        self._waker.close()

    def _perform(self) -> list[tuple[Any, Answer | TransportFailure]]:
        if not self._under_way:
            return []
        self._add_starting()
        self._multi.perform()
        over = []
        more = 1
        while more:
            more, succeeded, failed = self._multi.info_read()
            over += [self._finish(curl) for curl in succeeded]
            over += [self._finish(curl, code) for curl, code, _ in failed]
        if (now := time.monotonic()) >= self._first_until:
            late = [curl for curl, transfer in self._under_way.items() if transfer.until <= now]
            over += [self._finish(curl, pycurl.E_OPERATION_TIMEDOUT) for curl in late]
            untils = (transfer.until for transfer in self._under_way.values())
            self._first_until = min(untils, default=float("inf"))
        return over

    def _add_starting(self) -> None:
        renew_stale(self._starting)
        for handle in self._starting:
            self._multi.add_handle(handle.curl)
        self._starting.clear()

    def _finish(
        self, curl: pycurl.Curl, code: int | None = None
    ) -> tuple[Any, Answer | TransportFailure]:
        transfer = self._under_way.pop(curl)
        result: Answer | TransportFailure
        try:
            result = transfer.handle.answer(code)
        except TransportFailure as failure:
            result = failure
        self._multi.remove_handle(curl)
        self._give_back(transfer.handle)
        return transfer.tag, result

    def _sleep(self, seconds: float) -> None:
        """Sleep until there is something to do."""
        readable, writable, _ = self._multi.fdset() if self._under_way else ([], [], [])
        if len(readable) + len(writable) < len(self._under_way):
            seconds = min(seconds, _WITHOUT_SOCKET)
        if self._under_way:
            wanted = self._multi.timeout()
            seconds = min(seconds, self._first_until - time.monotonic())
            seconds = min(seconds, wanted / 1000) if wanted >= 0 else seconds
        ready([*readable, self._wakes.fileno()], writable, max(0.0, seconds))
        self._clear_wakes()

    def _clear_wakes(self) -> None:
        try:
            self._wakes.recv(4096)
        except BlockingIOError:
            return
