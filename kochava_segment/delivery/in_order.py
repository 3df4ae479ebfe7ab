"""Works on many items side by side, and on items of one key one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WINDOW = 16  # items taken from the input and not yet reported, for each thread


def run_in_order(
    items: Iterable[_Item],
    work: Callable[[_Item], _Result],
    *,
    key: Callable[[_Item], Hashable | None],
    concurrency: int,
) -> Generator[_Result, None, None]:
    """Work on items in threads, and yield the results in the order of completion.

    Items are taken from the input in the caller's thread, as room comes free. What is finished is
    yielded before more is taken, so an input that blocks holds back only what finishes meanwhile.

    Args:
        items: The input; it may be endless. If it raises, that is raised after all results.
        work: Works on one item. If it raises, that is raised after all results.
        key: Items of one key are worked on in their order, never two at once; None sets no order.
        concurrency: How many items are worked on at once.
    """
    run = _Run(work, concurrency)
    source = iter(items)
    failure: BaseException | None = None
    exhausted = False
    try:
        while True:
            while run.has_result():
                finished, result = run.take()
                if finished:
                    yield result
                else:
                    failure, exhausted = failure or result, True
            if not exhausted and run.outstanding < concurrency * _WINDOW:
                try:
                    item = next(source)
                except StopIteration:
                    exhausted = True
                except Exception as error:  # noqa: BLE001  # raised below, once all is reported
                    failure, exhausted = error, True
                else:
                    run.start(item, key(item))
            elif run.outstanding:
                run.wait()
            else:
                break
    finally:
        run.close()
    if failure is not None:
        raise failure


class _Run(Generic[_Item, _Result]):
    def __init__(self, work: Callable[[_Item], _Result], concurrency: int) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[_Item]] = {}  # for each key that is being worked on
        self._results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._ready: deque[tuple[bool, Any]] = deque()
        self._closed = False
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kochava-segment")
        self.outstanding = 0

    def start(self, item: _Item, key: Hashable | None) -> None:
        self.outstanding += 1
        if key is not None:
            with self._lock:
                waiting = self._waiting.get(key)
                if waiting is not None:
                    waiting.append(item)
                    return
                self._waiting[key] = deque()
        self._threads.submit(self._work_on, item, key)

    def _work_on(self, item: _Item, key: Hashable | None) -> None:
        if self._closed:
            return
        try:
            result: tuple[bool, Any] = (True, self._work(item))
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            result = (False, error)
        # The next of this key goes to the end of the queue: other keys have waited longer.
        if key is not None:
            with self._lock:
                waiting = self._waiting[key]
                following = (waiting.popleft(),) if waiting else ()
                if not following:
                    del self._waiting[key]
            if following and not self._closed:
                self._threads.submit(self._work_on, following[0], key)
        self._results.put(result)

    def has_result(self) -> bool:
        return bool(self._ready) or not self._results.empty()

    def wait(self) -> None:
        self._ready.append(self._results.get())

    def take(self) -> tuple[bool, Any]:
        self.outstanding -= 1
        return self._ready.popleft() if self._ready else self._results.get()

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
