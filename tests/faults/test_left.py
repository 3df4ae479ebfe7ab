"""Programs that end without a flush, in an orderly way or not, and at times when all hangs."""

from __future__ import annotations

import signal
import time

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_changes import retry
from kochava_segment.delivery.outbox_inspection import EntryFilter
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.delivery.raw_server import RawServer
from tests.faults.processes import QUICK, Sender, drained, eventually, stored
from tests.faults.traffic import Arrived, message

_MESSAGES = 60
_ENDINGS = [
    ("end", 0),
    ("exit at once", 4),
    pytest.param("raise", 1, marks=pytest.mark.slow),
    pytest.param("close", 0, marks=pytest.mark.slow),
    pytest.param("exit", 3, marks=pytest.mark.slow),
    pytest.param("exit in a thread", 0, marks=pytest.mark.slow),
    pytest.param("abort", -signal.SIGABRT, marks=pytest.mark.slow),
]
_DISORDERLY = ("exit at once", "abort")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def hanging():
    """A server that takes connections and requests, and never answers."""

    def serve(connection):
        while connection.recv(65_536):
            pass

    with RawServer(serve) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize(("then", "code"), _ENDINGS)
def test_what_a_program_leaves_behind_is_sent_by_the_next(path, tmp_path, then, code):
    with KochavaEmulator(faults=Faults(latency=0.05)) as kochava:
        options = {"outbox": str(path), "endpoint": kochava.url, "lease": 0.5, "workers": 4}
        sender = Sender(tmp_path, options=options, count=_MESSAGES, pause=0.001, then=then)
        assert sender.end(20) == code
        assert sender.acknowledged == list(range(_MESSAGES))
        assert kochava.counted < _MESSAGES  # it did not wait until all was sent
        in_flight = [entry.id for entry in stored(path) if entry.state == "in flight"]
        assert not in_flight or then in _DISORDERLY
        kochava.faults = Faults()
        status = drained(path, kochava.url)
        arrived = Arrived(kochava)
    assert set(arrived.numbers) == set(range(_MESSAGES))
    assert len(arrived.repeated) <= status.maybe_repeated <= len(in_flight)
    arrived.assert_in_order()


def _sender_that_waits(tmp_path, path, endpoint, **options):
    options = {"outbox": str(path), "endpoint": endpoint, "stop_on_sigterm": True, **options}
    sender = Sender(tmp_path, options=options, count=_MESSAGES, then="wait")
    sender.wait_for(_MESSAGES)
    return sender


def _terminate(sender):
    """Send SIGTERM; gives the seconds until the process has ended, by that very signal."""
    began = time.monotonic()
    sender.process.terminate()
    assert sender.end(20) == -signal.SIGTERM
    return time.monotonic() - began


def test_sigterm_during_back_off_ends_at_once_and_loses_nothing(path, tmp_path):
    with KochavaEmulator(faults=Faults(error_rate=1.0)) as kochava:
        retry = {"base": 60, "cap": 60}
        sender = _sender_that_waits(tmp_path, path, kochava.url, outbox_retry=retry)
        eventually(lambda: kochava.received >= 10)  # the first of each device
        assert _terminate(sender) < 2
        assert {entry.state for entry in stored(path)} == {"waiting"}
        kochava.faults = Faults()
        with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as destination:
            assert destination.flush(0.3).pending  # they back off still
        status = _send_now(path, kochava)
        assert status.states == {"delivered": _MESSAGES}
        assert status.maybe_repeated == 0
        Arrived(kochava).assert_in_order()


def _send_now(path, kochava):
    box = Outbox(path)
    retry(box, EntryFilter())
    box.close()
    return drained(path, kochava.url)


def test_sigterm_while_requests_are_answered_waits_for_the_answers(path, tmp_path):
    with KochavaEmulator(faults=Faults(latency=0.5)) as kochava:
        sender = _sender_that_waits(tmp_path, path, kochava.url)
        eventually(lambda: kochava.received >= 10)
        assert _terminate(sender) < 3
        kochava.faults = Faults()
        status = drained(path, kochava.url)
        assert (status.states, status.maybe_repeated) == ({"delivered": _MESSAGES}, 0)
        assert not Arrived(kochava).repeated


@pytest.mark.slow
def test_sigterm_while_the_endpoint_hangs_ends_in_bounded_time(path, tmp_path, hanging):
    sender = _sender_that_waits(tmp_path, path, hanging, lease=0.5, timeout=600)
    eventually(lambda: any(entry.state == "in flight" for entry in stored(path)))
    assert _terminate(sender) < 8
    with KochavaEmulator() as kochava:
        assert drained(path, kochava.url).states == {"delivered": _MESSAGES}


def test_stopping_while_the_endpoint_hangs_takes_as_long_as_it_may(path, hanging):
    destination = KochavaDestination(
        "koapp", endpoint=hanging, outbox=path, lease=0.5, timeout=600, workers=16
    )
    for number in range(_MESSAGES):
        destination.enqueue(message(number))
    eventually(lambda: sum(entry.state == "in flight" for entry in stored(path)) >= 10)
    time.sleep(0.5)  # until they are posted, of which nothing tells
    began = time.monotonic()
    assert not destination.stop_relay(0.3)
    destination.close()
    assert time.monotonic() - began < 2
    with KochavaEmulator() as kochava:
        status = drained(path, kochava.url, outbox_retry=QUICK)
        assert status.states == {"delivered": _MESSAGES}
        # The server took them, for all that anybody knows.
        assert status.maybe_repeated >= 10


@pytest.mark.slow
def test_closing_while_the_endpoint_hangs_takes_no_longer_than_promised(path, hanging):
    destination = KochavaDestination("koapp", endpoint=hanging, outbox=path, timeout=600)
    destination.enqueue(message(0))
    eventually(lambda: any(entry.state == "in flight" for entry in stored(path)))
    time.sleep(0.5)  # until they are posted, of which nothing tells
    began = time.monotonic()
    destination.close()
    assert 4.9 < time.monotonic() - began < 7
