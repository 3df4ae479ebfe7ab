"""Works on many items side by side, and on items of one key one after the other."""

from __future__ import annotations

import atexit
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.workers import MakeWorkers

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# How many items are taken from the input and not yet yielded, for each that is worked on at once. Few
# need to be ready to keep the workers busy; many may wait behind another of their key, so that a busy
# key, which is worked off at its own pace, leaves room for others behind it in the input.
READY = 4
HELD = 64
_AT_EXIT = 15.0  # seconds in which an exiting interpreter lets work under way end


def run_in_order(
    items: Iterable[_Item],
    make_workers: MakeWorkers[_Item],
    *,
    key: Callable[[_Item], Hashable | None],
    concurrency: Concurrency,
    on_close: Callable[[], None] = lambda: None,
) -> Generator[_Result, None, None]:
    """Have items worked on, and yield the results in the order of completion.

    Items are taken from the input in the caller's thread, as room comes free. What is finished is
    yielded before more is taken, so an input that blocks holds back only what finishes meanwhile.

    For each item that may be worked on at once, up to 4 are ready, worked on or finished, and up to 64
    wait for an earlier one of their key. Only when those 64 are taken up does a key that is busier than
    all others hold them up: then the input goes on as fast as that key's items are worked off.

    Closing the generator ends the run: no other item is started, items under way are waited for,
    and nothing more is yielded. The exit of the interpreter does the same to a run that nobody
    closed, and waits 15 seconds at most.

    Args:
        items: The input; it may be endless. If it raises, that is raised after all results.
        make_workers: Makes those who work on them. What they raise is raised after all results.
        key: Items of one key are worked on in their order, never two at once; None sets no order.
        concurrency: How many items are worked on at once. It may change its mind.
        on_close: Called when the run ends, before items under way are waited for: hurries them.
    """
    run: _Run[_Item, Any] = _Run(iter(items), make_workers, key, concurrency, on_close)
    try:
        while True:
            yield from run.finished()
            if run.has_room():
                run.take()
            elif run.outstanding:
                run.start_workers()  # the limit may have grown since the last item was taken
                run.wait()
            else:
                break
    finally:
        run.close()
    if run.failure is not None:
        raise run.failure


class _Run(Generic[_Item, _Result]):
    """One run: what was taken, what waits, what has finished. Driven from the caller's thread alone."""

    def __init__(
        self,
        source: Iterator[_Item],
        make_workers: MakeWorkers[_Item],
        key: Callable[[_Item], Hashable | None],
        concurrency: Concurrency,
        on_close: Callable[[], None],
    ) -> None:
        self._source = source
        self._workers = make_workers(self._done)
        self._key = key
        self._concurrency = concurrency
        self._on_close = on_close
        self._lock = threading.Lock()
        self._busy: set[Hashable] = set()  # keys that are being worked on
        self._waiting: defaultdict[Hashable, deque[_Item]] = defaultdict(deque)  # for one of them
        self._held = 0  # items in there
        self._results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._awaited: deque[tuple[bool, Any]] = deque()
        self._exhausted = False
        self.closed = False
        self.failure: BaseException | None = None
        self.outstanding = 0  # items taken and not yet yielded
        _runs.add(self)
        renew_after_fork(self)

    def finished(self) -> Iterator[_Result]:
        """What has finished since the last call."""
        while self._awaited or not self._results.empty():
            self.outstanding -= 1
            succeeded, result = self._awaited.popleft() if self._awaited else self._results.get()
            if succeeded:
                yield result
            else:
                self._fail(result)
            if self.closed:
                raise RuntimeError("the run is over: this is a forked child, or the process exits")

    def has_room(self) -> bool:
        """Whether another item can be taken."""
        ready, limit = self.outstanding - self._held, self._concurrency.limit
        return not self._exhausted and ready < READY * limit and self._held < HELD * limit

    def take(self) -> None:
        """Take items from the input while there is room, until something has finished."""
        while self.has_room() and self._results.empty():
            self._take_next()
            self.start_workers()

    def _take_next(self) -> None:
        """Take an item, and have it worked on or hold it until its turn."""
        try:
            item = next(self._source)
        except StopIteration:
            self._exhausted = True
        except Exception as error:  # noqa: BLE001  # raised once all is reported
            self._fail(error)
        else:
            self.outstanding += 1
            if not self._is_held(item, self._key(item)):
                self._workers.put(item)

    def start_workers(self) -> None:
        """See to it that somebody works on what was taken."""
        self._workers.start(self.outstanding - self._held)

    def wait(self) -> None:
        """Wait until something has finished."""
        self._awaited.append(self._results.get())

    def _fail(self, error: BaseException) -> None:
        self.failure, self._exhausted = self.failure or error, True

    def _is_held(self, item: _Item, key: Hashable | None) -> bool:
        if key is None:
            return False
        with self._lock:
            if key not in self._busy:
                self._busy.add(key)
                return False
            self._waiting[key].append(item)
            self._held += 1
            return True

    def _done(self, item: _Item, succeeded: bool, result: Any) -> None:  # noqa: FBT001  # as Done has it
        # First, so that the results of a key keep their order.
        self._results.put((succeeded, result))
        key = self._key(item)
        if key is not None:
            self._start_next_of(key)

    def _start_next_of(self, key: Hashable) -> None:
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                self._busy.discard(key)
                return
            item = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            self._held -= 1
        self._workers.put(item)  # behind the others: other keys have waited longer

    def after_fork(self) -> None:
        """A child has none of its parent's threads: for it the run is over."""
        self.closed = True

    def close(self) -> None:
        """End the run and wait for what is under way."""
        if not self.closed:
            self.stop()
            self.join()

    def stop(self) -> None:
        self.closed = True
        self._on_close()
        self._workers.stop()

    def join(self, until: float | None = None) -> None:
        """Wait for the threads; at most until `time.monotonic()` is so."""
        self._workers.join(until)


_runs: WeakSet[_Run[Any, Any]] = WeakSet()


@atexit.register
def _close_all() -> None:
    until = time.monotonic() + _AT_EXIT
    runs = [run for run in _runs if not run.closed]
    for run in runs:
        run.stop()
    for run in runs:
        run.join(until)
