"""What the outbox holds, counted no more often than that is worth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import (
    OutboxDepth,
    OutboxStatus,
    outbox_depth,
    outbox_status,
)

_FRESH_FOR = 5.0  # seconds
_SHARE = 20  # of the time that counting takes, it is not counted again

_Found = TypeVar("_Found")


class _Counted(Generic[_Found]):
    """What is counted, a few seconds old at most unless counting takes that long."""

    def __init__(self, count: Callable[[], _Found]) -> None:
        self._count = count
        self._found: _Found | None = None
        self._fresh_until = 0.0

    def get(self) -> _Found:
        """What was found; counts where that is too old. Blocks.

        Raises:
            OutboxError: if the outbox cannot be read.
        """
        began = time.monotonic()
        if self._found is None or began > self._fresh_until:
            self._found = self._count()
            ended = time.monotonic()
            self._fresh_until = ended + max(_FRESH_FOR, _SHARE * (ended - began))
        return self._found


class CountedStatus(_Counted[OutboxStatus]):
    """The status of an outbox. It reads every request, of which a busy day leaves millions."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(lambda: outbox_status(outbox))


class CountedDepth(_Counted[OutboxDepth]):
    """What of an outbox is not done with."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(lambda: outbox_depth(outbox))


class OneAtATime(Generic[_Found]):
    """Something that blocks, in a thread of its own: whoever asks meanwhile shares the answer.

    So that a probe every second fills no pool with threads that all wait for one locked file.
    """

    def __init__(self, call: Callable[[], _Found]) -> None:
        self._call = call
        self._running: Future[_Found] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kochava-status")

    async def get(self, within: float) -> _Found:
        """What it gives.

        Raises:
            asyncio.TimeoutError: if that takes longer; it goes on all the same.
        """
        if self._running is None or self._running.done():
            self._running = self._thread.submit(self._call)
        # Wrapped anew for each: the loop in which it was begun may be gone.
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._running)), within)
