"""Many requests under way in one thread: what threads do in test_in_order.py, and what is peculiar to one."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kochava_segment import Answer, KochavaDestination, OutcomeKind, RetryPolicy, TransportFailure
from kochava_segment.delivery import in_order
from kochava_segment.delivery.attempt import KOCHAVA
from kochava_segment.delivery.concurrency import PinnedConcurrency
from kochava_segment.delivery.driving import Stop
from kochava_segment.delivery.multi_workers import MultiWorkers
from kochava_segment.delivery.steps import Post, Wait
from kochava_segment.emulator import Faults
from tests.delivery.raw_server import OK, Certificate, RawServer, a_request
from tests.delivery.test_in_order import by_letter, eventually, our_threads
from tests.messages import ios

ACCEPTED = Answer(200, {}, b'{"success":"1"}')
REQUEST = a_request("http://127.0.0.1/track/json")


class InMemory:
    """A transport whose requests are answered in any order, some at a time."""

    def __init__(self, answer=lambda _: ACCEPTED, seed=0):
        self.answer = answer
        self.random = random.Random(seed)
        self.opened = self.closed = self.most_under_way = 0
        self._under_way = []
        self._woken = threading.Event()

    def send(self, _):
        raise AssertionError("it can do more than one")

    def close(self):
        pass

    def transfers(self):
        self.opened += 1
        return self

    # As Transfers.

    def start(self, tag, request, _):
        self._under_way.append((tag, request))
        self.most_under_way = max(self.most_under_way, len(self._under_way))

    def wait(self, seconds):
        if not self._under_way:
            self._woken.wait(min(seconds, 5))
            self._woken.clear()
            return []
        self.random.shuffle(self._under_way)
        count = self.random.randint(0, len(self._under_way))
        over, self._under_way = self._under_way[:count], self._under_way[count:]
        return [(tag, self.answer(request)) for tag, request in over]

    def wake(self):
        self._woken.set()


class InMemoryTransfers(InMemory):
    def close(self):
        self.closed += 1


def run(items, steps_of, *, transport=None, concurrency=4, stopped=None, key=by_letter):
    """What items come to, worked on in one thread."""
    transport = transport or InMemoryTransfers()
    pinned = PinnedConcurrency(concurrency)

    def make_workers(done):
        return MultiWorkers(
            steps_of,
            done,
            transport=transport,
            stopped=stopped or Stop(),
            concurrency=pinned,
            peer=KOCHAVA,
            name="kochava-segment",
        )

    return in_order.run_in_order(items, make_workers, key=key, concurrency=pinned)


class Watched:
    """Steps of items, which note what is worked on at once."""

    def __init__(self):
        self.order = defaultdict(list)
        self.overlaps = []
        self._active = []

    def __call__(self, item):
        key = by_letter(item)
        if key is not None and key in self._active:
            self.overlaps.append(item)
        self._active.append(key)
        self.order[key].append(item)
        assert (yield Wait(0.0)) is False
        attempt = yield Post(REQUEST)
        assert attempt.status == 200
        self._active.remove(key)
        return item


@settings(max_examples=150, deadline=None)
@given(
    letters=st.lists(st.sampled_from("aab-c"), max_size=80),
    concurrency=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_each_item_is_worked_on_once_and_the_order_of_a_key_is_kept(letters, concurrency, seed):
    items = [f"{letter}{place}" for place, letter in enumerate(letters)]
    work, transport = Watched(), InMemoryTransfers(seed=seed)
    results = list(run(items, work, transport=transport, concurrency=concurrency))
    assert sorted(results) == sorted(items)
    assert work.overlaps == []
    assert transport.most_under_way <= concurrency
    for key in set(letters) - {"-"}:
        of_key = [item for item in items if item[0] == key]
        assert work.order[key] == of_key
        assert [item for item in results if item[0] == key] == of_key
    assert our_threads() == []
    assert transport.opened == transport.closed


def test_one_thread_has_as_many_requests_under_way_as_it_may():
    transport = InMemoryTransfers()
    run_ = run((f"-{n}" for n in itertools.count()), Watched(), transport=transport, concurrency=32)
    for _ in range(200):
        next(run_)
        assert len(our_threads()) == 1
    run_.close()
    assert transport.most_under_way == 32
    assert our_threads() == []


def test_no_input_starts_no_thread():
    transport = InMemoryTransfers()
    assert list(run([], Watched(), transport=transport)) == []
    assert transport.opened == 0


def test_who_waits_holds_nobody_up():
    def steps_of(item):
        yield Wait(0.3 if item == "a1" else 0.0)
        yield Post(REQUEST)
        return item

    began = time.monotonic()
    results = list(run(["a1", *(f"b{n}" for n in range(50))], steps_of, concurrency=2))
    assert results[-1] == "a1"
    assert time.monotonic() - began >= 0.3


def test_waits_end_when_it_is_stopped():
    stopped, told = Stop(), []

    def steps_of(item):
        told.append((yield Wait(60.0)))
        return item

    threading.Timer(0.1, stopped.set).start()
    began = time.monotonic()
    assert list(run(["a1", "b1", "b2"], steps_of, stopped=stopped)) == ["a1", "b1", "b2"]
    assert time.monotonic() - began < 5
    assert told == [True, True, True]


def test_an_exception_of_an_item_is_raised_after_all_results():
    def steps_of(item):
        yield Post(REQUEST)
        if item == "a1":
            raise LookupError(item)
        return item

    results = []
    with pytest.raises(LookupError):  # noqa: PT012  # what comes before it counts
        for result in run(["b1", "c1", "a1", "a2"], steps_of, concurrency=1):
            results.append(result)  # noqa: PERF402  # until it raises
    assert results[:2] == ["b1", "c1"]


def test_a_transport_that_starts_nothing_has_not_been_answered():
    class Closed(InMemoryTransfers):
        def start(self, *_):
            raise TransportFailure("the transport is closed", maybe_sent=False)

    def steps_of(_):
        attempt = yield Post(REQUEST)
        return attempt.maybe_sent, attempt.detail

    assert list(run(["a1"], steps_of, transport=Closed())) == [(False, "the transport is closed")]


def test_a_transport_that_breaks_may_have_sent_what_was_under_way_and_the_rest_goes_on():
    class Breaks(InMemoryTransfers):
        def wait(self, seconds):
            if len(self._under_way) == 3 and self.opened == 1:
                self._under_way.clear()
                raise OSError("of its own")
            return super().wait(seconds)

    def steps_of(item):
        attempt = yield Post(REQUEST)
        if attempt.status is None:
            assert attempt.detail == "the transport raised OSError"
            assert attempt.maybe_sent
            attempt = yield Post(REQUEST)
        return item, attempt.status

    transport = Breaks()
    items = [f"-{n}" for n in range(20)]
    results = list(run(items, steps_of, transport=transport, concurrency=3))
    assert sorted(results) == sorted((item, 200) for item in items)
    assert (transport.opened, transport.closed) == (2, 2)


def test_a_transport_that_cannot_begin_anew_at_once_does_so_later():
    class Breaks(InMemoryTransfers):
        def transfers(self):
            self.opened += 1
            if self.opened in (2, 3):
                raise OSError("too many open files")
            return self

        def wait(self, seconds):
            if self.opened == 1 and self._under_way:
                self._under_way.clear()
                raise RuntimeError("of its own")
            return super().wait(seconds)

    def steps_of(item):
        attempts = []
        while not attempts or attempts[-1].status is None:
            attempts.append((yield Post(REQUEST)))
        return item, len(attempts)

    transport = Breaks()
    assert list(run(["a1", "a2"], steps_of, transport=transport)) == [("a1", 2), ("a2", 1)]
    assert transport.opened == 4


# With libcurl.

pytest.importorskip("pycurl")
OPEN_FILES = Path("/proc/self/fd")


def open_files():
    return sum(1 for _ in OPEN_FILES.iterdir())


def messages(count, devices=None):
    for number in range(count):
        device = {"id": f"d{number % (devices or count)}", "type": "ios"}
        yield ios(messageId=f"m-{number}", context={"device": device})


def kochava(url, **options):
    return KochavaDestination("koapp", endpoint=url, transport="pycurl", hooks=(), **options)


def test_a_thread_that_was_held_up_takes_no_answer_for_lost(kochava_emulator):
    """Even where the program kept it waiting for longer than a request may take."""

    class Slow:
        def attempt(self, event):
            if event.message_id == "m-0":
                time.sleep(1.4)

        def retry_scheduled(self, event):
            pass

        def outcome(self, event):
            pass

    url = kochava_emulator.url
    options = {"timeout": (1.0, 1.0), "hooks": (Slow(),), "transport": "pycurl"}
    with KochavaDestination("koapp", endpoint=url, **options) as destination:
        outcomes = list(destination.send_many(messages(100), concurrency=8))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.ACCEPTED] * 100
    # A connection that was not open yet may have taken too long: then nothing was sent over it.
    assert not any(outcome.receipt.maybe_repeated for outcome in outcomes)
    assert kochava_emulator.counted == 100


def test_an_answer_that_does_not_come_in_time_is_lost():
    with RawServer(lambda connection: server.read(connection) and time.sleep(1.0)) as server:
        options = {"timeout": (0.3, 0.3), "retry": RetryPolicy(max_attempts=1)}
        with kochava(server.url, **options) as destination:
            began = time.monotonic()
            (outcome,) = destination.send_many(messages(1))
            took = time.monotonic() - began
    assert outcome.kind is OutcomeKind.AMBIGUOUS
    assert 0.3 <= took < 0.9


def test_the_order_of_a_device_survives_faults(kochava_emulator):
    kochava_emulator.faults = Faults(
        error_rate=0.1,
        reset_before_reading=0.05,
        reset_after_reading=0.05,
        half_answer=0.05,
        seed=3,
    )
    retry = RetryPolicy(max_attempts=20, base=0.001, cap=0.002)
    with kochava(kochava_emulator.url, retry=retry) as destination:
        outcomes = list(destination.send_many(messages(300, devices=5), concurrency=16))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    for device in range(5):
        of_device = [o.index for o in outcomes if o.index % 5 == device]
        assert of_device == sorted(of_device)


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts files as Linux tells of them")
def test_nothing_stays_open(kochava_emulator):
    with kochava(kochava_emulator.url) as destination:
        list(destination.send_many(messages(20), concurrency=4))
        before = open_files()
        for _ in range(5):
            list(destination.send_many(messages(20), concurrency=4))
        assert open_files() <= before
    assert eventually(lambda: open_files() < before)


def test_sockets_with_high_numbers_do(kochava_emulator):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("so many files may not be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    taken = [os.dup(0) for _ in range(1200)]
    try:
        with kochava(kochava_emulator.url) as destination:
            outcomes = list(destination.send_many(messages(200), concurrency=8))
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_leaves_the_connections_of_a_run_to_its_parent(tmp_path, monkeypatch):
    certificate = Certificate.of(tmp_path, "IP:127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.certificate))
    forked = threading.Event()

    def serve(connection):
        while server.read(connection):
            forked.wait(10)
            connection.sendall(OK)

    with RawServer(serve, tls=certificate) as server, kochava(server.url) as destination:
        run_ = destination.send_many(messages(8), concurrency=4)
        threading.Timer(0.3, forked.set).start()
        first = next(run_)
        child = os.fork()
        if child == 0:
            try:
                run_.close()
                del run_
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        outcomes = [first, *run_]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    assert {outcome.receipt.attempts for outcome in outcomes} == {1}
