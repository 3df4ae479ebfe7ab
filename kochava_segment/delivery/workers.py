"""Who does what steps say, for many jobs at once: threads, each of which posts one request at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from kochava_segment.delivery.concurrency import Concurrency

_Job = TypeVar("_Job")
_Job_contra = TypeVar("_Job_contra", contravariant=True)

Done = Callable[[_Job, bool, Any], None]
"""Told of each job that is over, in the thread that worked on it: whether it succeeded, and its result
or the exception."""


class Workers(Protocol[_Job_contra]):
    """Work on jobs, as many at once as a Concurrency says."""

    def put(self, job: _Job_contra, /) -> None:
        """Have a job worked on, behind those that were put before."""
        ...

    def start(self, jobs: int, /) -> None:
        """See to it that there are threads for so many jobs."""
        ...

    @property
    def have_backlog(self) -> bool:
        """Whether jobs are waiting for others to be over."""
        ...

    def stop(self) -> None:
        """Start no other job, and end once those under way are over."""
        ...

    def join(self, until: float | None = None) -> None:
        """Wait for that, at most until `time.monotonic()` is so."""
        ...


MakeWorkers = Callable[[Done[_Job]], Workers[_Job]]


class ThreadedWorkers(Generic[_Job]):
    """Work on jobs in threads, one job at a time in each.

    Args:
        work: Works on a job.
        done: Told of each that is over.
        concurrency: How many threads there are at most. It may change its mind.
        name: What the threads are called.
    """

    def __init__(
        self,
        work: Callable[[_Job], Any],
        done: Done[_Job],
        concurrency: Concurrency,
        name: str = "kochava-segment",
    ) -> None:
        self._work = work
        self._done = done
        self._concurrency = concurrency
        self._name = name
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[tuple[_Job] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def put(self, job: _Job) -> None:
        """Have a job worked on."""
        self._jobs.put((job,))

    def start(self, jobs: int) -> None:
        """Start threads for so many jobs."""
        while len(self._threads) < min(self._concurrency.limit, jobs):
            # A daemon, since an interpreter that exits waits for other threads without limit.
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            with self._lock:
                self._threads.append(thread)
            thread.start()

    @property
    def have_backlog(self) -> bool:
        """Whether jobs are waiting for others to be over."""
        return not self._jobs.empty()

    def stop(self) -> None:
        """Start no other job, and end once those under way are over."""
        self._stopped = True
        for _ in self._threads:  # none leaves the list any more
            self._jobs.put(None)

    def join(self, until: float | None = None) -> None:
        """Wait for that, at most until `time.monotonic()` is so."""
        for thread in self._threads:
            join(thread, until)

    def _run(self) -> None:
        while not self._is_one_too_many():
            job = self._jobs.get()
            if job is None or self._stopped:
                return
            try:
                succeeded, result = True, self._work(job[0])
            except BaseException as error:  # noqa: BLE001  # raised where the results are taken
                succeeded, result = False, error
            self._done(job[0], succeeded, result)

    def _is_one_too_many(self) -> bool:
        """Whether this thread is no longer needed; it is struck off the list then."""
        if len(self._threads) <= self._concurrency.limit:
            return False
        with self._lock:
            surplus = len(self._threads) > self._concurrency.limit and not self._stopped
            if surplus:
                self._threads.remove(threading.current_thread())
            return surplus


def join(thread: threading.Thread, until: float | None) -> None:
    """Wait for a thread, at most until `time.monotonic()` is so."""
    if thread is not threading.current_thread():  # garbage is collected in any thread
        thread.join(None if until is None else max(0.0, until - time.monotonic()))
