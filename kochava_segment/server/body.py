"""Reads bodies: in pieces, never more than the limit, however small they were compressed."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from typing import Any, NoReturn

from attrs import frozen
from starlette.requests import ClientDisconnect, Request

from kochava_segment.entries import without_duplicates
from kochava_segment.errors import InvalidEventPayload
from kochava_segment.json_codec import decode_with
from kochava_segment.server.answers import Refusal

MAX_BODY_BYTES = 4 * 2**20
"""Of a body, decompressed. Segment's batches stay under it."""

BODY_TIMEOUT = 10.0
"""Seconds in which a body must have come."""

ROOM_BYTES = 64 * 2**20
"""Of all large bodies of strangers together, while they come: a thousand connections that each send
4 KB of gzip could else fill 4 GB."""

_SMALL = (
    65_536  # bytes; Segment's messages have half of that at most. They need no share of the room
)

_GZIP = 16 + zlib.MAX_WBITS  # as zlib calls it
_ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}


@frozen
class Body:
    """A body that was read.

    Attributes:
        content: Its bytes, decompressed.
        sent: Its bytes as they came.
    """

    content: bytes
    sent: bytes


class _Room:
    """What bodies that are still coming may hold together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()  # applications in other threads share it

    def take(self, size: int) -> None:
        """Take some of it.

        Raises:
            Refusal: if there is not so much left.
        """
        with self._lock:
            if size <= self._left:
                self._left -= size
                return
        raise Refusal(503, "too many large bodies come at once", retry_after=_SOON)

    def give_back(self, size: int) -> None:
        """Give it back."""
        with self._lock:
            self._left += size


_room = _Room(ROOM_BYTES)
_SOON = 5  # seconds


async def read_body(
    request: Request, limit: int = MAX_BODY_BYTES, *, trusted: bool = False
) -> Body:
    """Read a request's body.

    Args:
        request: The request.
        limit: How many bytes it may have.
        trusted: Whoever sends it is known already, and may send large bodies while others do.

    Raises:
        Refusal: if it is too large, came too slowly, or is not compressed as its header says; or if
            too many large ones are coming.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        headers = {"Accept-Encoding": "gzip"}
        raise Refusal(415, "the body must be plain or gzip", headers=headers)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > limit:
        raise _too_large(limit)
    inflate = zlib.decompressobj(_GZIP) if _ENCODINGS[encoding] else None
    try:
        reading = _read(request, inflate, limit, None if trusted else _room)
        return await asyncio.wait_for(reading, BODY_TIMEOUT)
    except asyncio.TimeoutError:
        detail = f"the body must come within {BODY_TIMEOUT:.0f} s"
        raise Refusal(408, detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refusal(400, "the connection ended before the body did") from None


async def _read(request: Request, inflate: Any, limit: int, room: _Room | None) -> Body:
    sent, content = bytearray(), bytearray()
    try:
        await _fill(sent, content, request, inflate, limit, room)
    except BaseException:
        # The error keeps this frame, until the garbage is collected; not all that it holds as well.
        sent.clear()
        content.clear()
        raise
    if inflate is None:
        whole = bytes(sent)
        return Body(whole, whole)
    if not inflate.eof:
        raise Refusal(400, "the gzip data breaks off")
    return Body(bytes(content), bytes(sent))


async def _fill(
    sent: bytearray,
    content: bytearray,
    request: Request,
    inflate: Any,
    limit: int,
    room: _Room | None,
) -> None:
    """Read what comes into `sent`; and into `content`, decompressed."""
    taken = 0
    try:
        async for piece in request.stream():
            sent += piece
            if len(sent) > limit:
                raise _too_large(limit)
            if inflate is not None:
                content += _inflated(inflate, piece, limit + 1 - len(content))
                if len(content) > limit:
                    raise _too_large(limit)
            more = len(sent) + len(content) - _SMALL - taken
            if room is not None and more > 0:
                room.take(more)
                taken += more
    finally:
        if room is not None:
            room.give_back(taken)


def _inflated(inflate: Any, piece: bytes, room: int) -> bytes:
    ended = inflate.eof
    try:
        # What does not fit is not decompressed: it may be a thousand times as large.
        found: bytes = inflate.decompress(piece, room)
    except zlib.error:
        raise Refusal(400, "the body is not gzip, as Content-Encoding says it is") from None
    if inflate.unused_data or (ended and piece):
        raise Refusal(400, "something follows the gzip data")
    return found


def _too_large(limit: int) -> Refusal:
    detail = f"the body may have {limit} bytes, decompressed: send smaller batches"
    return Refusal(413, detail)


def parse_json(body: bytes) -> Any:
    """The JSON document in a body.

    Raises:
        Refusal: if it is none, or says two things in one place.
    """
    try:
        return decode_with(_DECODER, body)
    except InvalidEventPayload as error:
        raise Refusal(400, "the body is ambiguous", problems=error.problems) from None
    except UnicodeDecodeError:
        detail = "the body must be UTF-8"
    except json.JSONDecodeError as error:
        detail = f"the body must be JSON: {error.msg} at character {error.pos + 1}"
    except ValueError:
        detail = "the body has a number that JSON does not know, or of too many digits"
    except RecursionError:
        detail = "the body is nested too deeply"
    raise Refusal(400, detail)


def check_content_type(request: Request, *allowed: str) -> str:
    """The media type of a body, in lower case.

    Raises:
        Refusal: if it is not one of those allowed, or in another character set than UTF-8.
    """
    media, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if media.strip() not in allowed or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Refusal(415, f"the body must be {' or '.join(allowed)} in UTF-8")
    return media.strip()


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=without_duplicates, parse_constant=_refuse)
