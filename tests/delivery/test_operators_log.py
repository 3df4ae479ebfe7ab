"""What somebody who operates it finds in the log: each thing that matters, once, with its fields."""

import logging
import os
import socket
import threading
import time

import pytest

from kochava_segment import CredentialsRejected, KochavaDestination, RecordingTransport
from kochava_segment.delivery import outbox as outbox_module
from kochava_segment.delivery import relay as relay_module
from kochava_segment.delivery.answer import Answer
from kochava_segment.delivery.outbox import NewEntry, Outbox, OutboxSettings
from kochava_segment.delivery.outbox_changes import discard, retry
from kochava_segment.delivery.outbox_inspection import EntryFilter, outbox_status
from kochava_segment.delivery.relay import Relay, RelaySettings
from kochava_segment.errors import OutboxFull
from tests.delivery.outboxes import answered, lease, put, register, request, settle
from tests.messages import ios
from tests.records import fields, logged

ME = f"{socket.gethostname()}:{os.getpid()}"
OK = Answer(200, {}, b'{"success":"1"}')


@pytest.fixture(autouse=True)
def _log(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "kochava_segment")
    monkeypatch.setattr(relay_module, "_POLL", 0.03)


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    yield box
    box.close()


def relay_of(box, answer=None, credentials=b""):
    transport = RecordingTransport(answer)
    settings = RelaySettings(workers=2)
    return Relay(
        box, transport, prepare=lambda one: one, credentials=credentials, settings=settings
    )


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def test_a_relay_says_when_it_starts_and_stops(box, caplog):
    relay = relay_of(box)
    relay.start()
    relay.start()
    assert relay.stop()
    assert relay.stop()
    relay.start(again=True)
    assert relay.stop()
    names = [fields(record)["event"] for record in caplog.records]
    assert names == ["relay_started", "relay_stopped"] * 2
    assert logged(caplog, "relay_started")[0] == {"relay": ME}
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_relay_that_never_ran_says_nothing(box, caplog):
    assert relay_of(box).stop()
    assert caplog.records == []


def test_a_relay_that_could_not_finish_says_what_is_open(box, caplog):
    posted, go_on = threading.Event(), threading.Event()

    def answer(_request):
        posted.set()
        go_on.wait(10)
        return OK

    put(box, "m-1")
    relay = relay_of(box, answer)
    relay.start()
    assert posted.wait(10)
    assert not relay.stop(0.1)
    go_on.set()
    assert logged(caplog, "relay_cut_short") == [{"count": 1, "relay": ME}]
    assert logged(caplog, "relay_stopped") == []


def test_an_app_that_is_paused_and_goes_on_with_other_credentials(box, caplog):
    put(box, "m-1")
    refused = relay_of(box, lambda _: Answer(401), credentials=b"bad")
    refused.start()
    wait_until(lambda: outbox_status(box).paused)
    refused.stop()
    paused = {"app": "ko", "peer": "Kochava", "status": 401, "options": "api_key and api_secret"}
    assert logged(caplog, "app_paused") == [paused]
    again = relay_of(box, credentials=b"bad")
    again.start()
    wait_until(lambda: logged(caplog, "app_still_paused") == [{"app": "ko", "peer": "Kochava"}])
    again.stop()
    mended = relay_of(box, lambda _: OK, credentials=b"good")
    mended.start()
    wait_until(lambda: not outbox_status(box).pending)
    mended.stop()
    assert logged(caplog, "app_resumed") == [{"app": "ko", "reason": "there are other credentials"}]


def test_an_app_that_a_person_lets_go_on(box, caplog):
    put(box, "m-1")
    mended = threading.Event()
    relay = relay_of(box, lambda _: OK if mended.is_set() else Answer(401), credentials=b"same")
    relay.start()
    wait_until(lambda: outbox_status(box).paused)
    mended.set()
    retry(box, EntryFilter(states=("paused",)))
    wait_until(lambda: not outbox_status(box).pending)
    relay.stop()
    assert logged(caplog, "app_resumed") == [{"app": "ko", "reason": "a person said so"}]


def test_a_full_outbox_is_told_once_and_so_is_room(tmp_path, caplog):
    box = Outbox(tmp_path / "full", OutboxSettings(when_full="refuse", max_size=200_000))
    put(box, *(f"m-{number}" for number in range(100)), body=b"x" * 3000)
    for _ in range(3):
        with pytest.raises(OutboxFull):
            put(box, "one more")
    assert logged(caplog, "outbox_full") == [{}]
    discard(box, EntryFilter())
    put(box, "m-new", "m-newer")
    put(box, "m-newest")
    assert logged(caplog, "outbox_has_room") == [{}]
    box.close()


def test_forgetting_early_is_told_once_an_hour(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(outbox_module, "_DROPPED_AT_ONCE", 20)
    settings = OutboxSettings(when_full="drop_delivered", max_size=150_000)
    box = Outbox(tmp_path / "full", settings)
    relay = register(box, lease=1e6)
    for number in range(30):
        box.put([NewEntry(request=request(f"m-{number}-{index}")) for index in range(100)])
        while lanes := lease(box, relay, requests=1000, per_lane=1000):
            settle(box, relay, *(answered(lane, *["delivered"] * 1000) for lane in lanes))
    assert outbox_status(box).purged["delivered", ""] > 100
    assert logged(caplog, "outbox_forgets_early") == [{}]
    box.close()


def test_credentials_that_are_refused_in_a_row_are_told(caplog):
    with KochavaDestination(
        "koexample-app-guid", transport=RecordingTransport(lambda _: Answer(401))
    ) as kochava:
        for _ in range(8):
            with pytest.raises(CredentialsRejected):
                kochava.send(ios())
    assert logged(caplog, "app_left_alone") == [{"app": "koexam", "count": 5, "wait": 30.0}]
    assert len(logged(caplog, "not_delivered")) == 8
