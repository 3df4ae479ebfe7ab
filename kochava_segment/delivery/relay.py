"""Drains an outbox through a transport: one thread leases and settles, some others post.

Nothing is settled before it was answered, and nothing waits in a thread: what has to be tried again
goes back into the outbox with its time.
"""

from __future__ import annotations

import atexit
import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, cast
from weakref import WeakSet

from attrs import field, frozen

from kochava_segment.delivery import leases
from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import KOCHAVA, Attempt, Peer
from kochava_segment.delivery.concurrency import make_concurrency
from kochava_segment.delivery.driving import Stop
from kochava_segment.delivery.instrumentation import ACCEPTED, DeliveryHook, Hooks
from kochava_segment.delivery.judging import judge
from kochava_segment.delivery.leases import LaneResult, LeasedLane, LeasedRequest
from kochava_segment.delivery.make_workers import make_workers
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import ACTIONS, RetryPolicy
from kochava_segment.delivery.steps import Post, Steps, Wait
from kochava_segment.delivery.transport import Transport
from kochava_segment.delivery.workers import Workers
from kochava_segment.errors import OutboxError
from kochava_segment.log_events import (
    APP_PAUSED,
    APP_RESUMED,
    APP_STILL_PAUSED,
    LEASE_LOST,
    RELAY_CUT_SHORT,
    RELAY_DIED,
    RELAY_GOES_ON,
    RELAY_STARTED,
    RELAY_STOPPED,
    RELAY_WAITS,
    SENT_TWICE,
    app_in_brief,
)
from kochava_segment.request import KochavaRequest

_POLL = 0.25  # seconds between looks for what other processes have put in, or what is due again
_GATHER = 0.005  # seconds in which more results may come, to be settled in the same transaction
_MOST_PER_LANE = 16
_LEAST_IN_FLIGHT = 32
_MOST_AHEAD = 256  # where workers are so quick that they wait for more
_PURGE_EVERY = 60.0
_AFTER_FAILURE = 1.0  # seconds until an outbox that cannot be written is tried again
_PATIENCE = 0.1  # seconds that a thread waits for an app that Kochava has slowed
_SLOWED_FOR = 1.0  # seconds that an app rests after a 429 that does not say how long
_STOP_AT_EXIT = 5.0
_OUTCOMES = {
    "delivered": ACCEPTED,
    "rejected": "Rejected",
    "exhausted": "RetriesExhausted",
    "ambiguous": "AmbiguousDelivery",
}


@frozen(kw_only=True)
class RelaySettings:
    """How a relay works.

    Attributes:
        workers: How many requests are posted at once; None for as many as pay off.
        lease: Seconds after which the others take back what a relay that died has leased.
        retry: When to try again and when to give up; waiting counts against its deadline.
        max_rate: Requests a second; None for no limit.
    """

    workers: int | None = None
    lease: float = 10.0
    retry: RetryPolicy = RetryPolicy()
    max_rate: float | None = None


class Relay:
    """Posts what an outbox holds, until it is stopped. Several may share a file.

    Args:
        outbox: What is drained.
        transport: Posts a request once.
        prepare: Makes a stored request ready: its endpoint and its signature.
        credentials: A digest of the credentials it signs with, to tell whether they were mended.
        settings: How it works.
        hooks: Whom to tell.
        peer: Who answers, for reasons and logs.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        *,
        prepare: Callable[[KochavaRequest], KochavaRequest],
        credentials: bytes = b"",
        settings: RelaySettings | None = None,
        hooks: Sequence[DeliveryHook] = (),
        peer: Peer = KOCHAVA,
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._peer = peer
        self._prepare = prepare
        self._credentials = credentials
        self._settings = settings or RelaySettings()
        self._hooks = Hooks(hooks)
        policy = self._settings.retry
        self._give_up = tuple(a for a in ACTIONS if policy.after_maybe_sent(a) != "retry")
        self.after_fork()
        renew_after_fork(self)
        _relays.add(self)

    def after_fork(self) -> None:
        """Be as new: the threads are the parent's, and so is what they have leased."""
        self._lock = threading.Lock()
        self._limiter = RateLimiter(self._settings.max_rate)
        self._paces: dict[str, RateLimiter] = {}  # by app: a 429 is about one alone
        self._reset()

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = Stop()
        self._stop_by = 0.0
        self._concurrency = make_concurrency(self._settings.workers)
        self._lanes_out = 0  # that workers have
        self._ahead = _LEAST_IN_FLIGHT
        self._results: SimpleQueue[_Worked | None] = SimpleQueue()
        self._workers = self._make_workers(self._results)
        self._unsettled: list[_Worked] = []
        self._out = 0  # requests that workers have
        self._relay: int | None = None
        self._leased_until = self._renew_at = self._purge_at = 0.0
        self._purged_up_to = 0
        self._idle = False
        self._looked = threading.Event()
        self._blocked: dict[str, float] = {}  # apps that rest, and until when
        self._blocks_stored: set[str] = set()
        self._refused: set[str] = set()  # apps for which our credentials were
        self._failure: str | None = None

    def wait_until_started(self, timeout: float) -> None:
        """Wait until it has had a first look at the outbox: what was paused may go on by then."""
        self._looked.wait(timeout)

    @property
    def alive(self) -> bool:
        """Whether it is running, and the outbox lets it work."""
        thread = self._thread
        return thread is not None and thread.is_alive() and self._failure is None

    @property
    def rate(self) -> float | None:
        """Requests a second that it posts at most at present, of the app that was slowed the most.

        None where nothing limits it.
        """
        limits = (self._limiter.rate, *(pace.rate for pace in tuple(self._paces.values())))
        return min((rate for rate in limits if rate is not None), default=None)

    def start(self, *, again: bool = False) -> None:
        """Run in the background. Does nothing where it runs already.

        Args:
            again: Also where it was stopped.
        """
        if self._thread is not None and not again:
            return
        with self._lock:
            if self._stop.is_set() and again and not self._is_running():
                self._reset()
            if self._thread is not None or self._stop.is_set():
                return
            self._results.put(None)  # a first look at once
            thread = threading.Thread(target=self._run, name="kochava-relay", daemon=True)
            thread.start()
            self._thread = thread
        RELAY_STARTED.log(relay=_name())
        _stop_before_a_child_of_multiprocessing_ends()

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Something was put into the outbox: look now."""
        if self._idle:
            self._idle = False
            self._results.put(None)

    def stop(self, timeout: float = _STOP_AT_EXIT) -> bool:
        """Finish what is being posted, write down what became of it, and end.

        Args:
            timeout: Seconds that this may take. What is not answered by then stays leased until the
                lease runs out, and counts as perhaps sent.

        Returns:
            Whether everything could be finished.
        """
        with self._lock:
            thread = self._thread
            is_first = not self._stop.is_set()
            self._stop_by = time.monotonic() + timeout
            self._stop.set()
        if thread is None:
            return True
        self._results.put(None)
        thread.join(timeout + 1.0)
        finished = self._out == 0 and not thread.is_alive()
        if is_first and finished:
            RELAY_STOPPED.log(relay=_name())
        elif is_first:
            RELAY_CUT_SHORT.log(count=self._out, relay=_name())
        return finished

    # The thread that leases and settles.

    def _run(self) -> None:
        workers = self._workers  # of this run: another may begin as soon as this one is over
        while True:
            self._gather()
            if self._stop.is_set() and (self._out == 0 or time.monotonic() > self._stop_by):
                break
            self._turn()
            self._start_workers()
        self._turn()  # settles the last results, and leaves if nothing is out
        workers.stop()

    def _gather(self) -> None:
        """Wait for results, or for something to do."""
        timeout = min(_POLL, self._settings.lease / 4)
        if self._stop.is_set():
            timeout = max(0.0, min(timeout, self._stop_by - time.monotonic()))
        elif self._failure is not None:
            timeout = _AFTER_FAILURE
        try:
            self._take(self._results.get(timeout=timeout))
            if self._workers.have_backlog:  # they are busy, so that there is time for more
                time.sleep(_GATHER)
            while True:
                self._take(self._results.get_nowait())
        except Empty:
            return

    def _take(self, worked: _Worked | None) -> None:
        if worked is not None:
            self._unsettled.append(worked)
            self._out -= len(worked.lane.requests)
            self._lanes_out -= 1

    def _turn(self) -> None:
        self._idle = True  # from here on, whoever puts something in has to wake us
        registered = self._relay, self._leased_until, self._renew_at
        settled = [(worked, self._result(worked)) for worked in self._unsettled]
        try:
            with self._outbox.file.writing() as cursor:
                leased = self._transact(cursor, settled)
        except Exception as error:  # noqa: BLE001  # this thread must not die with leases in hand
            # The results are kept, and settled when the outbox can be written again. A number that
            # was taken in vain is free: another relay may have it by now.
            self._relay, self._leased_until, self._renew_at = registered
            self._wait_after(error)
            self._looked.set()
            return
        self._looked.set()
        if self._failure is not None:
            self._failure = None
            RELAY_GOES_ON.log(relay=_name())
        self._unsettled.clear()
        for worked, result in settled:
            self._tell(worked, result)
        self._look_ahead(busy=bool(settled and leased))
        for lane in leased:
            if lane.app_guid in self._blocks_stored:  # and the outbox says that it is over
                self._blocks_stored.discard(lane.app_guid)
                self._blocked.pop(lane.app_guid, None)
            self._out += len(lane.requests)
            self._lanes_out += 1
            self._workers.put(_Work(lane, self._relay))

    def _start_workers(self) -> None:
        try:
            self._workers.start(self._lanes_out)
        except Exception as error:  # noqa: BLE001  # no thread, or too many open files: as above
            self._wait_after(error)

    def _wait_after(self, error: Exception) -> None:
        expected = isinstance(error, OutboxError)
        detail = str(error) if expected else f"{type(error).__name__} in its own work"
        if self._failure != detail:
            self._failure = detail
            RELAY_WAITS.log(reason=detail, relay=_name())

    @property
    def _most_in_flight(self) -> int:
        return max(self._ahead, 4 * self._concurrency.limit)

    @property
    def _most_per_lane(self) -> int:
        """Requests that one worker gets at a time: what is in flight has to be enough for all."""
        return min(_MOST_PER_LANE, max(1, self._most_in_flight // self._concurrency.limit))

    def _look_ahead(self, *, busy: bool) -> None:
        """Lease more at a time where the workers had nothing to do while this thread was at it.

        No more than that: after a crash, all that is leased counts as perhaps sent.
        """
        if busy and not self._workers.have_backlog:
            self._ahead = min(2 * self._ahead, _MOST_AHEAD)
        elif not busy and not self._out:
            self._ahead = _LEAST_IN_FLIGHT

    def _transact(
        self, cursor: Any, settled: Sequence[tuple[_Worked, LaneResult]]
    ) -> list[LeasedLane]:
        relay = self._keep_lease(cursor)
        repeated = leases.settle(cursor, relay, (result for _, result in settled))
        if repeated:
            SENT_TWICE.log(count=repeated, relay=_name())
        for worked, _ in settled:
            self._store_block(cursor, worked)
        if time.monotonic() > self._purge_at:
            self._purge(cursor)
        if self._stop.is_set():
            if self._out == 0:
                leases.leave(cursor, relay)
            return []
        room = self._most_in_flight - self._out
        if room < self._most_in_flight // 4:
            return []
        for guid in tuple(self._refused):
            if leases.resumed_by_hand(cursor, guid):
                self._refused.discard(guid)
                APP_RESUMED.log(app=app_in_brief(guid), reason="a person said so")
        return leases.lease(
            cursor,
            relay,
            requests=room,
            per_lane=self._most_per_lane,
            credentials=self._credentials,
            without=self._refused,
        )

    def _keep_lease(self, cursor: Any) -> int:
        now, lease = time.monotonic(), self._settings.lease
        if self._relay is not None and now < self._renew_at:
            return self._relay
        if self._relay is not None and not leases.renew(cursor, self._relay, lease):
            LEASE_LOST.log(wait=lease, relay=_name())
            self._relay = None
        first = self._relay is None
        if first:
            self._relay = leases.register(cursor, _name(), lease)
        # Not only at first: a process with older credentials may pause an app at any time.
        still_paused = leases.resume_with(cursor, self._credentials, self._refused)
        if first:
            for guid in still_paused:
                APP_STILL_PAUSED.log(app=app_in_brief(guid), peer=self._peer.name)
        relay = cast("int", self._relay)
        for name, count in leases.recover(cursor, relay, give_up=self._give_up):
            RELAY_DIED.log(relay=name, count=count)
        self._leased_until, self._renew_at = now + lease, now + lease / 3
        return relay

    def _store_block(self, cursor: Any, worked: _Worked) -> None:
        guid = worked.lane.app_guid
        for _, attempt in worked.attempts:
            if attempt.verdict is Verdict.CREDENTIALS:
                if guid not in self._refused:
                    APP_PAUSED.log(
                        app=app_in_brief(guid),
                        peer=self._peer.name,
                        status=attempt.status,
                        options=self._peer.options,
                    )
                leases.pause(cursor, guid, self._credentials)
                self._blocks_stored.add(guid)
                self._refused.add(guid)
            elif attempt.status == 429:
                leases.slow_down(cursor, guid, self._rest(attempt))
                self._blocks_stored.add(guid)

    def _purge(self, cursor: Any) -> None:
        following = self._outbox.purge_old(cursor, self._purged_up_to)
        self._purged_up_to = following or 0
        self._purge_at = time.monotonic() + (_PURGE_EVERY if following is None else 0.0)

    def _result(self, worked: _Worked) -> LaneResult:
        settled, wait = [], worked.rest
        for leased, attempt in worked.attempts:
            one, back_off = judge(leased, attempt, self._settings.retry)
            wait = max(wait, back_off)
            settled.append(one)
        attempted = len(worked.attempts)
        return LaneResult(
            lane=worked.lane,
            settled=tuple(settled),
            unsent=tuple(leased.id for leased in worked.lane.requests[attempted:]),
            wait=wait,
        )

    def _rest(self, attempt: Attempt) -> float:
        asked = attempt.retry_after
        return _SLOWED_FOR if asked is None else min(asked, self._settings.retry.retry_after_cap)

    # Those who post.

    def _make_workers(self, results: SimpleQueue[_Worked | None]) -> Workers[_Work]:
        stop = self._stop

        def done(work: _Work, succeeded: bool, result: Any) -> None:  # noqa: FBT001  # as Done has it
            # What failed is a fault of ours: the lane is left alone, and what was posted is not lost.
            rest = result if succeeded else _AFTER_FAILURE
            results.put(_Worked(work.lane, work.attempts, rest))

        return make_workers(
            self._steps_of,
            done,
            transport=self._transport,
            stopped=stop,
            concurrency=self._concurrency,
            peer=self._peer,
            name="kochava-relay-worker",
        )

    def _steps_of(self, work: _Work) -> Steps[float]:
        """Post what was leased of one device, as far as it goes. They come to seconds for it to rest."""
        app_guid = work.lane.app_guid
        for leased in work.lane.requests:
            rest = yield from self._held_back(work)
            if rest is not None:
                return rest
            try:
                prepared = self._prepare(leased.request)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with it may be mended
                detail = f"could not be made ready to be sent: {type(error).__name__}"
                prepared, attempt = leased.request, Attempt(verdict=Verdict.RETRY, detail=detail)
            else:
                attempt = yield Post(prepared)
            work.attempts.append((leased, attempt))
            self._learn_from(app_guid, attempt)
            self._hooks.attempt(prepared, app_guid, leased.attempts + 1, attempt)
            if attempt.verdict in (Verdict.RETRY, Verdict.CREDENTIALS):
                break  # what comes after it in this lane has to wait for it
        return 0.0

    def _held_back(self, work: _Work) -> Generator[Wait, bool, float | None]:
        """Wait for the turn to post; None when it has come, else seconds that the lane has to rest."""
        app_guid = work.lane.app_guid
        if self._blocked.get(app_guid, 0.0) > time.monotonic():
            return 0.0
        wait = self._pace_of(app_guid).reserve(within=_PATIENCE)
        if wait > _PATIENCE:  # other apps need this worker
            return wait
        stopped = yield Wait(max(wait, self._limiter.reserve()))
        if stopped:
            return 0.0
        # Once the lease has run out, somebody else may be sending this.
        ours = work.relay == self._relay and time.monotonic() < self._leased_until
        return None if ours else 0.0

    def _pace_of(self, app_guid: str) -> RateLimiter:
        return self._paces.get(app_guid) or self._paces.setdefault(app_guid, RateLimiter(None))

    def _learn_from(self, app_guid: str, attempt: Attempt) -> None:
        if attempt.verdict is Verdict.ACCEPTED:
            self._pace_of(app_guid).speed_up()
        elif attempt.verdict is Verdict.CREDENTIALS:
            self._blocked[app_guid] = float("inf")
        elif attempt.status == 429 and self._blocked.get(app_guid) != float("inf"):
            self._pace_of(app_guid).slow_down()
            self._blocked[app_guid] = time.monotonic() + self._rest(attempt)

    def _tell(self, worked: _Worked, result: LaneResult) -> None:
        app_guid = worked.lane.app_guid
        for (leased, attempt), settled in zip(worked.attempts, result.settled, strict=True):
            outcome = _OUTCOMES.get(settled.state)
            if outcome is not None:
                self._hooks.outcome(
                    leased.request,
                    app_guid,
                    outcome,
                    attempts=settled.attempts,
                    status=settled.status,
                    elapsed=settled.waited + attempt.elapsed,
                )
            elif attempt.verdict is Verdict.RETRY:
                self._hooks.retry_scheduled(
                    leased.request, app_guid, settled.attempts, settled.status, result.wait
                )


def _name() -> str:
    """What relays of this process are called: fork gives it another number."""
    return f"{socket.gethostname()}:{os.getpid()}"


@frozen
class _Work:
    """A lane, the number under which it was leased, and the attempts that were made, in order."""

    lane: LeasedLane
    relay: int | None
    attempts: list[tuple[LeasedRequest, Attempt]] = field(factory=list, init=False)


@frozen
class _Worked:
    """What became of a lane: the attempts that were made, in order; seconds that it has to rest."""

    lane: LeasedLane
    attempts: Sequence[tuple[LeasedRequest, Attempt]]
    rest: float = 0.0


_relays: WeakSet[Relay] = WeakSet()


def _stop_all(relays: Iterable[Relay] = _relays) -> None:
    running = [relay for relay in relays if relay.alive]
    for relay in running:
        relay.stop()


atexit.register(_stop_all)


def _stop_before_a_child_of_multiprocessing_ends() -> None:
    # Such children leave by os._exit, past atexit.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        util = importlib.import_module("multiprocessing.util")
        util.Finalize(None, _stop_all, exitpriority=100)
