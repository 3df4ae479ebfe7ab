"""The driver in threads: closing, exits and forks. What it decides is in test_steps.py."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from kochava_segment import (
    AmbiguousDelivery,
    Answer,
    KochavaDestination,
    RecordingTransport,
    RetriesExhausted,
    RetryPolicy,
    TransportFailure,
)
from kochava_segment.delivery.attempt import KOCHAVA
from kochava_segment.delivery.concurrency import PinnedConcurrency
from kochava_segment.delivery.delivery import Delivery
from kochava_segment.delivery.driving import drive
from kochava_segment.delivery.rate import RateLimiter
from tests.delivery.raw_server import RawServer, a_request
from tests.messages import ios

PATIENT = RetryPolicy(base=0, cap=0, deadline=600, retry_after_cap=600)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")


def destination(answer, **options):
    options = {"retry": PATIENT, "hooks": (), **options}
    return KochavaDestination("koapp", transport=RecordingTransport(answer), **options)


def close_soon(destination):
    threading.Timer(0.1, destination.close).start()
    return time.monotonic()


def come_later(_request):
    return Answer(503, {"Retry-After": "300"})


def test_closing_wakes_a_delivery_that_waits_to_try_again():
    waiting = destination(come_later)
    began = close_soon(waiting)
    with pytest.raises(RetriesExhausted, match="the destination was closed") as caught:
        waiting.send(ios())
    assert time.monotonic() - began < 3
    assert (caught.value.attempts, caught.value.status) == (1, 503)


def test_closing_says_if_it_may_have_been_counted():
    answers = iter([TransportFailure("lost", maybe_sent=True)])

    def answer(request):
        for failure in answers:
            raise failure
        return come_later(request)

    waiting = destination(answer)
    close_soon(waiting)
    with pytest.raises(AmbiguousDelivery):
        waiting.send(ios())


def test_closing_wakes_a_delivery_that_waits_for_its_turn():
    waiting = destination(lambda _: Answer(200), max_rate=0.01)
    waiting.send(ios())
    began = close_soon(waiting)
    with pytest.raises(RetriesExhausted) as caught:
        waiting.send(ios())
    assert time.monotonic() - began < 3
    assert caught.value.attempts == 0


def test_a_stop_of_its_own_ends_a_delivery_alone():
    transport = RecordingTransport(come_later)
    delivery = Delivery(transport, retry=PATIENT, limiter=RateLimiter(None))
    mine, other = delivery.new_stop(), delivery.new_stop()
    threading.Timer(0.05, mine.set).start()
    with pytest.raises(RetriesExhausted):
        drive(
            delivery.steps_of(a_request("http://127.0.0.1/")),
            transport,
            mine,
            PinnedConcurrency(1),
            KOCHAVA,
        )
    assert not other.is_set()
    delivery.stop()
    assert other.is_set()
    assert delivery.new_stop().is_set()


# The end of the process.

_AT_EXIT = 12  # seconds: less than an exit waits for at most, and enough for a busy machine
SCRIPT = """
import sys, threading, time
from kochava_segment import *
from kochava_segment.delivery import in_order

def messages():
    for n in range(100):
        yield {"type": "track", "event": "e", "messageId": str(n), "context": {"device": {"id": str(n)}}}

def answer(request):
    if request.message_id == "0":
        for _ in range(3):  # the other threads have something to do as well
            under_way.acquire(timeout=5)
        return Answer(200)
    under_way.release()
    print("began\\n", end="", flush=True)
    %s
    print("ended\\n", end="", flush=True)
    return Answer(503, {"Retry-After": "300"})

under_way = threading.Semaphore(0)
destination = KochavaDestination(
    "koapp", transport=RecordingTransport(answer), hooks=(),
    retry=RetryPolicy(deadline=600, retry_after_cap=600),
)
outcomes = destination.send_many(messages(), concurrency=4)
next(outcomes)
%s
"""


def exit_of(under_way, last):
    """How a process ends with send_many open: its exit code, seconds, lines and errors."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT % (under_way, textwrap.dedent(last))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, time.monotonic() - began, done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("last", "code"),
    [("", 0), ("sys.exit(3)", 3), ("del outcomes", 0)],
)
def test_a_process_that_exits_does_not_wait_for_retries(last, code):
    returned, seconds, _, errors = exit_of("pass", last)
    assert (returned, errors) == (code, "")
    assert seconds < _AT_EXIT


def test_a_process_that_exits_lets_attempts_under_way_end_and_begins_no_other():
    returned, seconds, lines, errors = exit_of("time.sleep(1)", "")
    assert (returned, errors) == (0, "")
    assert lines.count("began") == lines.count("ended")
    assert 3 <= lines.count("began") <= 4
    assert 1 <= seconds < _AT_EXIT


def test_a_process_that_dies_of_an_error_in_the_loop_says_so_at_once():
    last = """
        for _ in range(3): under_way.release()
        for outcome in destination.send_many(messages(), concurrency=4): raise ValueError("mine")
    """
    returned, seconds, _, errors = exit_of("pass", last)
    assert returned == 1
    assert errors.count("Traceback") == 1
    assert "ValueError: mine" in errors
    assert seconds < _AT_EXIT


def test_a_transport_that_hangs_holds_up_the_exit_no_longer_than_is_said():
    returned, seconds, _, errors = exit_of("time.sleep(100)", "in_order._AT_EXIT = 0.5")
    assert (returned, errors) == (0, "")
    assert seconds < _AT_EXIT


# Forks.


def child(work):
    """Run `work` in a forked child; gives its exit code: what `work` returns, 99 if it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        pid = os.fork()
    if not pid:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "it hung"


@forks
def test_a_forked_child_sends(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, hooks=()) as destination:
        destination.send(ios())

        def send_some():
            messages = [ios(messageId=str(n), context__device__id=str(n)) for n in range(30)]
            accepted = sum(o.kind == "accepted" for o in destination.send_many(messages))
            return accepted + destination.send(ios()).attempts

        assert child(send_some) == 31
        assert destination.send(ios()).status == 200
    assert kochava_emulator.counted == 33


@forks
def test_a_forked_child_is_free_of_locks_that_its_parent_s_threads_held():
    held = destination(lambda _: Answer(200), max_rate=1000.0)
    delivery = held._delivery
    limiter = delivery._steps._limiter
    release = threading.Event()
    holding = threading.Event()

    def hold():
        with delivery._lock, limiter._lock, delivery._stopped._cond:
            holding.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(5)

    def use_them():
        held.send(ios())
        limiter.slow_down()
        list(held.send_many([ios(), ios()]))
        held.close()
        return 7

    code = child(use_them)
    release.set()
    holder.join()
    assert code == 7


@forks
def test_a_child_cannot_go_on_with_its_parent_s_send_many_but_the_parent_can():
    started = destination(lambda _: Answer(200))
    messages = [ios(messageId=str(n), context__device__id=str(n)) for n in range(50)]
    outcomes = started.send_many(messages, concurrency=2)
    next(outcomes)

    def go_on():
        try:
            list(outcomes)
        except RuntimeError as error:
            return 5 if "forked child" in str(error) else 6
        return 0

    assert child(go_on) == 5
    assert len(list(outcomes)) == 49


@forks
def test_a_child_that_throws_away_its_parent_s_send_many_does_not_hang():
    started = destination(lambda _: Answer(200))
    outcomes = started.send_many([ios() for _ in range(50)], concurrency=2)
    next(outcomes)
    assert child(lambda: outcomes.close() or 3) == 3
    assert len(list(outcomes)) == 49


@forks
def test_a_destination_that_was_closed_stays_closed_in_a_child():
    closed = destination(lambda _: Answer(200))
    closed.close()

    def send():
        try:
            closed.send(ios())
        except RetriesExhausted:
            return 4
        return 0

    assert child(send) == 4


def test_connections_of_a_closed_destination_are_closed():
    with RawServer() as server:
        destination = KochavaDestination(
            "koapp", endpoint=f"http://127.0.0.1:{server.port}", hooks=()
        )
        destination.send(ios())
        assert len(server._open) == 1
        destination.close()
        until = time.monotonic() + 5
        while server._open and time.monotonic() < until:
            time.sleep(0.01)
        assert not server._open
