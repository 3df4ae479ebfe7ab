"""Works on many items side by side in an event loop, and on items of one key one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
)
from typing import Any, Generic, TypeVar, cast

from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.in_order import HELD, READY

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_END = object()


async def run_in_order(
    items: Iterable[_Item] | AsyncIterable[_Item],
    work: Callable[[_Item], Awaitable[_Result]],
    *,
    key: Callable[[_Item], Hashable | None],
    concurrency: Concurrency,
    on_close: Callable[[], None] = lambda: None,
) -> AsyncGenerator[_Result, None]:
    """Work on items in tasks, and yield the results in the order of completion.

    As `in_order.run_in_order` does it in threads: the same order, and the same bounds on what is taken.
    Closing the generator waits for items under way; cancelling the task that asks it cancels them.

    Args:
        items: The input; it may be endless. If it raises, that is raised after all results.
        work: Works on one item. If it raises, that is raised after all results.
        key: Items of one key are worked on in their order, never two at once; None sets no order.
        concurrency: How many items are worked on at once. It may change its mind.
        on_close: Called when the run ends, before items under way are waited for: hurries them.
    """
    run = _Run(items, work, key, concurrency)
    try:
        while not run.is_over():
            finished = await run.next_finished()
            if finished is not None and finished[0]:
                yield finished[1]
    except asyncio.CancelledError:
        run.cancel()
        raise
    finally:
        on_close()
        await run.close()
    if run.failure is not None:
        raise run.failure


class _Run(Generic[_Item, _Result]):
    """One run: the task that takes items, and those that work on them."""

    def __init__(
        self,
        items: Iterable[_Item] | AsyncIterable[_Item],
        work: Callable[[_Item], Awaitable[_Result]],
        key: Callable[[_Item], Hashable | None],
        concurrency: Concurrency,
    ) -> None:
        self._items = items
        self._work = work
        self._key = key
        self._concurrency = concurrency
        self._waiting: dict[Hashable, deque[_Item]] = {}  # for each key that is being worked on
        self._held = 0  # items in there
        self._outstanding = 0  # items taken and not yet yielded
        self._jobs: asyncio.Queue[tuple[_Item, Hashable | None] | None] = asyncio.Queue()
        self._results: asyncio.Queue[tuple[bool, Any] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._exhausted = self._closed = False
        self.failure: Exception | None = None
        self._taking = asyncio.create_task(self._take_all())

    def is_over(self) -> bool:
        return self._exhausted and not self._outstanding

    async def next_finished(self) -> tuple[bool, Any] | None:
        """The next result; None where there may be none any more."""
        self._start_worker()  # the limit may have grown since the last item was taken
        finished = await self._results.get()
        if finished is not None:
            self._outstanding -= 1
            if self._ready <= (READY - 1) * self._concurrency.limit:  # enough to take several
                self._room.set()
            if not finished[0]:
                self._fail(finished[1])
        return finished

    def _fail(self, error: Exception) -> None:
        self.failure, self._exhausted = self.failure or error, True

    # Taking items.

    async def _take_all(self) -> None:
        try:
            items: Any = self._items
            asynchronous = isinstance(items, AsyncIterable)
            source = aiter(items) if asynchronous else iter(items)
            while not self._exhausted:
                if not self._has_room():
                    await self._wait_for_room()
                item = await anext(source, _END) if asynchronous else next(source, _END)
                if item is _END:
                    break
                self._start(item)
        except Exception as error:  # noqa: BLE001  # raised once all is reported
            self._fail(error)
        self._exhausted = True
        self._results.put_nowait(None)

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._room.clear()
            await self._room.wait()

    @property
    def _ready(self) -> int:
        return self._outstanding - self._held

    def _has_room(self) -> bool:
        limit = self._concurrency.limit
        return self._ready < READY * limit and self._held < HELD * limit

    def _start(self, item: Any) -> None:
        key = self._key(item)
        self._outstanding += 1
        if key is not None:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.append(item)
                self._held += 1
                return
            self._waiting[key] = deque()
        self._jobs.put_nowait((item, key))
        self._start_worker()

    # Working on them.

    def _start_worker(self) -> None:
        if len(self._workers) < min(self._concurrency.limit, self._ready):
            self._workers.add(asyncio.create_task(self._run_jobs()))

    async def _run_jobs(self) -> None:
        while not self._is_one_too_many():
            job = await self._jobs.get()
            if job is None or self._closed:
                return
            item, key = job
            try:
                result: tuple[bool, Any] = (True, await self._work(item))
            except Exception as error:  # noqa: BLE001  # raised to the caller
                result = (False, error)
            self._results.put_nowait(result)  # first, so that the results of a key keep their order
            if key is not None:
                self._start_next_of(key)

    def _is_one_too_many(self) -> bool:
        """Whether this task is no longer needed; it is struck off the list then."""
        surplus = len(self._workers) > self._concurrency.limit and not self._closed
        if surplus:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        return surplus

    def _start_next_of(self, key: Hashable) -> None:
        waiting = self._waiting[key]
        if not waiting:
            del self._waiting[key]
            return
        self._held -= 1
        # To the end of the queue: other keys have waited longer.
        self._jobs.put_nowait((waiting.popleft(), key))

    # Ending.

    def cancel(self) -> None:
        """Drop what is under way."""
        for task in (self._taking, *self._workers):
            task.cancel()

    async def close(self) -> None:
        """Start nothing more, and wait for what is under way."""
        self._closed = True
        self._taking.cancel()
        for _ in self._workers:
            self._jobs.put_nowait(None)
        await asyncio.gather(self._taking, *self._workers, return_exceptions=True)
