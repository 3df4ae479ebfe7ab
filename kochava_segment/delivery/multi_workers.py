"""Does what steps say for many jobs at once in one thread, whose transport has many requests under way.

Many threads that post would mostly wait for each other: of the interpreter's lock there is one.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import define, field

from kochava_segment.delivery.answer import Answer
from kochava_segment.delivery.attempt import Attempt, Peer, failed, judge
from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.driving import Stop, learn
from kochava_segment.delivery.steps import Post, Steps, Wait
from kochava_segment.delivery.transport import MultiTransport, Transfers
from kochava_segment.delivery.workers import Done, join

_Job = TypeVar("_Job")
_LONG = 60.0  # seconds; whoever has something to do ends the wait before
_A_MOMENT = 0.1  # seconds
_LATER = object()  # what came of a step shows later


@define(eq=False)
class _Working(Generic[_Job]):
    """A job that is under way; when its request was started."""

    job: _Job
    steps: Steps[Any]
    began: float = field(default=0.0, init=False)


class MultiWorkers(Generic[_Job]):
    """Work on jobs in one thread.

    Args:
        steps_of: Gives the steps of a job.
        done: Told of each that is over.
        transport: Posts.
        stopped: Ends the waits of all jobs, once it is set.
        concurrency: How many jobs are under way at once. It may change its mind.
        peer: Who answers.
        name: What the thread is called.
    """

    def __init__(
        self,
        steps_of: Callable[[_Job], Steps[Any]],
        done: Done[_Job],
        *,
        transport: MultiTransport,
        stopped: Stop,
        concurrency: Concurrency,
        peer: Peer,
        name: str,
    ) -> None:
        self._steps_of = steps_of
        self._done = done
        self._transport = transport
        self._stopped = stopped
        self._concurrency = concurrency
        self._peer = peer
        self._name = name
        self._jobs: deque[_Job] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None
        # What follows is the thread's, but for waking it.
        self._transfers: Transfers[_Working[_Job]]
        self._under_way: set[_Working[_Job]] = set()
        self._waits: list[tuple[float, int, _Working[_Job]]] = []  # a heap, by when they are over
        self._numbers = itertools.count()  # the first in is the first out
        self._wants_jobs = False  # whoever puts one in has to wake it

    def put(self, job: _Job) -> None:
        """Have a job worked on."""
        self._jobs.append(job)
        if self._wants_jobs:
            self._wants_jobs = False
            self._transfers.wake()

    def start(self, jobs: int) -> None:
        """Start the thread, if there is a job for it."""
        if self._thread is None and jobs:
            self._transfers = self._transport.transfers()
            self._stopped.on_set = self._wake
            # A daemon, since an interpreter that exits waits for other threads without limit.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    @property
    def have_backlog(self) -> bool:
        """Whether jobs are waiting for others to be over."""
        return bool(self._jobs)

    def stop(self) -> None:
        """Start no other job, and end once those under way are over."""
        self._closed = True
        if self._thread is not None:
            self._wake()

    def join(self, until: float | None = None) -> None:
        """Wait for that, at most until `time.monotonic()` is so."""
        if self._thread is not None:
            join(self._thread, until)

    def _wake(self) -> None:
        self._transfers.wake()

    # The thread.

    def _run(self) -> None:
        while self._under_way or not self._closed:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  # of the transport; nobody else would go on
                self._begin_anew(error)
        self._transfers.close()

    def _begin_anew(self, error: Exception) -> None:
        """After an error that is no request's own: what was posted may have been sent."""
        with contextlib.suppress(Exception):
            self._transfers.close()
        opened = False
        while not opened:
            time.sleep(_A_MOMENT)  # what goes wrong at once might do so for ever
            with contextlib.suppress(OSError):  # too many files are open
                self._transfers = self._transport.transfers()
                opened = True
        waiting = {working for *_, working in self._waits}
        for working in self._under_way - waiting:
            self._go_on(working, self._attempt(working, error))

    def _turn(self) -> None:
        self._start_jobs()
        self._end_waits()
        for working, answer in self._transfers.wait(self._patience()):
            self._go_on(working, self._attempt(working, answer))

    def _start_jobs(self) -> None:
        while self._jobs and self._has_room():
            job = self._jobs.popleft()
            working = _Working(job, self._steps_of(job))
            self._under_way.add(working)
            self._go_on(working, None)

    def _has_room(self) -> bool:
        return len(self._under_way) < self._concurrency.limit and not self._closed

    def _end_waits(self) -> None:
        closed = self._stopped.is_set()
        while self._waits and (closed or self._waits[0][0] <= time.monotonic()):
            _, _, working = heapq.heappop(self._waits)
            self._go_on(working, closed)

    def _patience(self) -> float:
        """Seconds for which there is nothing to do but for answers."""
        self._wants_jobs = self._has_room()
        if (self._wants_jobs and self._jobs) or (self._waits and self._stopped.is_set()):
            return 0.0
        return max(0.0, self._waits[0][0] - time.monotonic()) if self._waits else _LONG

    def _go_on(self, working: _Working[_Job], told: object) -> None:
        """Tell a job what came of its last step, and do those that come next."""
        try:
            while told is not _LATER:
                told = self._do(working, working.steps.send(told))
        except StopIteration as over:
            self._end(working, succeeded=True, result=over.value)
        except BaseException as error:  # noqa: BLE001  # raised where the results are taken
            self._end(working, succeeded=False, result=error)

    def _do(self, working: _Working[_Job], step: Wait | Post) -> object:
        """Do a step. Gives what came of it, if it shows at once."""
        if isinstance(step, Wait):
            closed = self._stopped.is_set()
            if closed or step.seconds <= 0:
                return closed
            over = time.monotonic() + step.seconds
            heapq.heappush(self._waits, (over, next(self._numbers), working))
            return _LATER
        working.began = time.monotonic()
        try:
            self._transfers.start(working, step.request, step.seconds)
        except Exception as error:  # noqa: BLE001  # of the transport
            return self._attempt(working, error)
        return _LATER

    def _attempt(self, working: _Working[_Job], answer: Answer | Exception) -> Attempt:
        elapsed = time.monotonic() - working.began
        if isinstance(answer, Answer):
            attempt = judge(answer, elapsed, self._peer)
        else:
            attempt = failed(answer, elapsed)
        learn(self._concurrency, attempt)
        return attempt

    def _end(self, working: _Working[_Job], *, succeeded: bool, result: object) -> None:
        self._under_way.discard(working)
        self._done(working.job, succeeded, result)
