"""HTTP with an end to patience: uvicorn's own protocol waits for ever for a request to be whole."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT = 10.0
"""Seconds in which the head of a request must have come, from its first byte, or from connecting."""

MESSAGE_TIMEOUT = 30.0
"""Seconds in which the rest must have come. The body that is waited for has less: see `body`."""

READ_TIMEOUT = 30.0
"""Seconds in which whoever asked has to take some of an answer that is waiting to go."""

MAX_HEAD_BYTES = 32_768

MAX_PIPELINED = 100
"""Requests that may wait for the answer to one before: a packet can have thousands."""

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_NOTHING, _HEAD, _BODY = range(3)


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits to how long a request may take, and how large its head may be."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._part = _HEAD  # of the first request, though none of it has come
        self._number = 0
        self._head_bytes = 0
        self._bodyless_bytes = 0  # that came since the last ones of a body, once a head was whole
        self._timed: tuple[int, int] | None = None  # of which request what is timed
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._part = _NOTHING
        self._set_timer()
        self._stop_reading_timer()

    def pause_writing(self) -> None:
        """What is answered is not taken: begin to wait for that."""
        super().pause_writing()
        self._stop_reading_timer()
        self._reading = self.loop.call_later(READ_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """It is."""
        super().resume_writing()
        self._stop_reading_timer()

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or of several."""
        number = self._number
        self._bodyless_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if len(self.pipeline) > MAX_PIPELINED:
            self.pipeline.clear()
            self.transport.close()
            return
        if self._part != _HEAD or self._number != number:
            self._head_bytes = 0
        if self._part == _HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end_with(_TOO_LARGE)
                return
        # The sizes of chunks, their extensions and what trails the last one have no limit elsewhere.
        if self._part == _BODY and self._bodyless_bytes > MAX_HEAD_BYTES:
            self._end_with(_TOO_LARGE)
            return
        self._set_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._number += 1
        self._part = _HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header: in the head. What trails a body is none, and is not kept."""
        if self._part == _HEAD:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._bodyless_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        super().on_headers_complete()
        self._part = _BODY
        self._bodyless_bytes = 0

    def on_message_complete(self) -> None:
        """All of it is there."""
        super().on_message_complete()
        self._part = _NOTHING

    def _set_timer(self) -> None:
        # Most requests come whole, in one piece, and need no timer.
        timed = None if self._part == _NOTHING else (self._number, self._part)
        if timed == self._timed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = timed
        if timed is not None:
            seconds = HEAD_TIMEOUT if self._part == _HEAD else MESSAGE_TIMEOUT
            self._timer = self.loop.call_later(seconds, self._end_with, _TOO_LATE)

    def _end_with(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return
        # In the middle of another answer there is no place for this one.
        cycle: Any = self.cycle  # None before the first request
        if self._part == _HEAD and (cycle is None or cycle.response_complete):
            self.transport.write(answer)
        self.transport.close()
