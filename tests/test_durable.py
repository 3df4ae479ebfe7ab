"""A destination with an outbox: what messages become in it, over real HTTP where anything is sent."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.answer import Answer
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.delivery.transport import RecordingTransport
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.errors import (
    ConfigurationError,
    EventFiltered,
    EventNotSupported,
    InvalidEventPayload,
    OutboxFull,
    OutboxUnavailable,
)
from kochava_segment.outcome import OutcomeKind
from tests.messages import ADID, ANDROID_ID, IDFA, IDFV, MISSING, android, ios


@pytest.fixture
def kochava():
    with KochavaEmulator() as kochava:
        yield kochava


@pytest.fixture
def destinations(tmp_path):
    """Makes destinations with one outbox that send nothing of themselves, unless told to."""
    made = []

    def make(**options):
        options = {"relay": False, "outbox": tmp_path / "outbox.sqlite3", **options}
        destination = KochavaDestination("koapp", **options)
        made.append(destination)
        return destination

    yield make
    for destination in made:
        destination.close()


def engage(user_id="u-42", **changes):
    """An identify message as Engage sends it: a user, and no device."""
    context = {"personas": {"computation_key": "big_spender", "computation_class": "audience"}}
    message = {
        "type": "identify",
        "messageId": "e-1",
        "userId": user_id,
        "traits": {"big_spender": True},
        "context": context,
        "timestamp": "2026-03-20T18:06:56.900Z",
    }
    return {**message, **changes}


def installed(make=ios, **changes):
    changes = {"event": "Application Installed", "properties": {}, "messageId": "i-1", **changes}
    return make(**changes)


def stored(destination, **which):
    return list(entries(destination.outbox, EntryFilter(**which), bodies=True))


def kinds(outcomes):
    return [outcome.kind.value for outcome in outcomes]


# Enqueue.


def test_what_is_enqueued_is_stored_as_the_request_that_it_becomes(destinations):
    destination = destinations()
    outcome = destination.enqueue(ios(properties__price="9.99"))
    assert (outcome.kind, outcome.message_id, outcome.index) == (OutcomeKind.QUEUED, "m-1", 0)
    (entry,) = stored(destination)
    assert (entry.state, entry.action, entry.app_guid) == ("waiting", "event", "koapp")
    assert entry.payload == destination.map(ios(properties__price="9.99")).payload


def test_it_is_sent_in_the_background_and_flush_says_when(destinations, kochava):
    destination = destinations(relay=True, endpoint=kochava.url)
    destination.enqueue(ios())
    status = destination.flush(timeout=10)
    assert status.states == {"delivered": 1}
    assert kochava.counted == 1
    kochava.assert_no_complaints()


def test_a_message_that_comes_again_is_a_duplicate(destinations):
    destination = destinations()
    assert destination.enqueue(ios()).kind is OutcomeKind.QUEUED
    assert destination.enqueue(ios()).kind is OutcomeKind.DUPLICATE
    assert destinations().enqueue(ios()).kind is OutcomeKind.DUPLICATE, "also in other processes"
    assert destination.flush(timeout=0).duplicates == 2


def test_warnings_of_the_mapping_are_told(destinations):
    (warning,) = destinations().enqueue(ios(context__ip=MISSING)).warnings
    assert warning.code == "no-ip"


def test_what_cannot_be_mapped_is_an_error_and_nothing_is_stored(destinations):
    destination = destinations()
    for message, error in (
        (ios(event=MISSING), InvalidEventPayload),
        (ios(type="group"), EventNotSupported),
        (ios(integrations={"Kochava": False}), EventFiltered),
        (None, InvalidEventPayload),
    ):
        with pytest.raises(error):
            destination.enqueue(message)
    assert stored(destination) == []


def test_a_request_can_be_enqueued_as_well(destinations):
    destination = destinations(api_key="KEY", api_secret="s3cret")
    request = destination.map(ios())
    assert destination.enqueue(request).kind is OutcomeKind.QUEUED
    assert destination.enqueue(ios()).kind is OutcomeKind.DUPLICATE


class _Unreadable(dict):
    def get(self, *_):
        raise RuntimeError("mallory")


def test_bad_neighbours_harm_nobody(destinations):
    destination = destinations()
    outcomes = destination.enqueue_many(
        [
            ios(),
            None,
            ios(messageId="m-2", event=MISSING),
            _Unreadable(type="track"),
            "text",
            ios(),
            ios(messageId="m-3", integrations={"All": False}),
            ios(messageId="m-4", type="alias"),
            InvalidEventPayload([]),
            {"type": "delete"},
            ios(messageId="m-5"),
        ]
    )
    assert [outcome.index for outcome in outcomes] == list(range(11))
    assert kinds(outcomes) == [
        "queued", "invalid", "invalid", "invalid", "invalid", "duplicate",
        "filtered", "unsupported", "invalid", "invalid", "queued",
    ]  # fmt: skip
    assert [entry.message_id for entry in stored(destination)] == ["m-1", "m-5"]


def test_many_are_stored_group_by_group(destinations):
    destination = destinations()
    messages = (ios(messageId=f"m-{number}") for number in range(1203))
    outcomes = destination.enqueue_many(messages)
    assert [outcome.message_id for outcome in outcomes] == [f"m-{number}" for number in range(1203)]
    assert destination.flush(timeout=0).states == {"waiting": 1203}
    assert destination.enqueue_many([]) == []


def test_without_an_outbox_there_is_nothing_to_put_into():
    with KochavaDestination("koapp") as destination:
        for use in (
            lambda: destination.enqueue(ios()),
            lambda: destination.enqueue_many([]),
            destination.flush,
            lambda: destination.forget("u-42"),
            destination.start_relay,
            destination.stop_relay,
            lambda: destination.outbox,
        ):
            with pytest.raises(ConfigurationError, match="outbox: is not set"):
                use()


def test_an_outbox_that_cannot_be_written_is_told_to_the_caller(destinations, tmp_path):
    destination = destinations(outbox=tmp_path / "nowhere" / "outbox")
    for use in (lambda: destination.enqueue(ios()), lambda: destination.enqueue_many([ios()])):
        with pytest.raises(OutboxUnavailable):
            use()


def test_a_full_outbox_is_drained_by_the_process_that_finds_it_full(destinations, kochava):
    filling = destinations(max_size=0.3, when_full="refuse")
    for number in range(1000):
        try:
            filling.enqueue(ios(messageId=f"m-{number}", properties={"text": "x" * 5000}))
        except OutboxFull:
            break
    destination = destinations(max_size=0.3, when_full="block", relay=True, endpoint=kochava.url)
    assert destination.enqueue(ios(messageId="one-more")).kind is OutcomeKind.QUEUED
    assert destination.flush(timeout=20).pending == 0


# What is stored, and what is not.


def test_neither_credentials_nor_endpoint_are_kept_and_todays_are_used(destinations, tmp_path):
    secrets = {"api_key": "KEY-4711", "api_secret": "secret-4711", "account_key": "account-4711"}
    destination = destinations(
        **secrets, account_id="7", devices=True, endpoint="https://old.example/base"
    )
    destination.enqueue(installed())
    destination.enqueue(destination.map(ios()))
    destination.forget("u-42")
    destination.enqueue(installed(android, userId="u-43", messageId="i-2"))
    destination.close()
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert b"4711" not in content
        assert b"Auth-Token" not in content
    with KochavaEmulator(api_key="KEY-2", api_secret="secret-2") as signed:
        later = destinations(
            relay=True, endpoint=signed.url, privacy_endpoint=signed.url,
            api_key="KEY-2", api_secret="secret-2", account_id="7", account_key="account-2",
        )  # fmt: skip
        assert later.flush(timeout=10).pending == 0
        assert {request.status for request in signed.requests} == {200}
        assert {request.path for request in signed.requests} == {
            "/track/json",
            "/accounts/7/privacy/scrub",
        }


def test_an_endpoint_with_a_path_is_followed(destinations):
    transport = RecordingTransport()
    options = {
        "endpoint": "https://proxy.example/kochava",
        "privacy_endpoint": "https://proxy.example/privacy",
        "account_id": "7",
        "account_key": "key",
        "devices": True,
        "transport": transport,
        "relay": True,
    }
    destination = destinations(**options)
    destination.enqueue_many([installed(), engage()])
    destination.flush(timeout=10)
    destination.forget("u-42")
    destination.flush(timeout=10)
    assert [
        request.url.removeprefix("https://proxy.example/") for request in transport.requests
    ] == [
        "kochava/track/json",
        "kochava/v1/cpi/identityLink.php",
        "privacy/accounts/7/privacy/scrub",
    ]


# The device directory.


def test_engage_reaches_each_known_device_after_its_install(destinations, kochava):
    kochava_ = kochava
    destination = destinations(devices=True, relay=True, endpoint=kochava_.url)
    destination.stop_relay()
    messages = [
        ios(messageId="m-0"),
        installed(),
        installed(android, messageId="i-2"),
        ios(messageId="m-2", anonymousId="another", context__device__id=IDFV.lower()),
    ]
    destination.enqueue_many(messages)
    outcome = destination.enqueue(engage())
    assert outcome.kind is OutcomeKind.QUEUED
    assert destination.enqueue(engage()).kind is OutcomeKind.DUPLICATE
    assert destination.flush(timeout=10).pending == 0
    kochava_.assert_no_complaints()
    links = [r.payload for r in kochava_.requests if "identityLink" in r.path]
    assert sorted(json.dumps(link["device_id"], sort_keys=True) for link in links) == sorted(
        json.dumps(ids, sort_keys=True)
        for ids in (
            {"idfa": IDFA, "idfv": IDFV},
            {"idfa": IDFA, "idfv": IDFV.lower()},
            {"adid": ADID, "android_id": ANDROID_ID},
        )
    )
    assert all(link["data"] == {"user_id": "u-42", "big_spender": "true"} for link in links)
    actions = [
        request.payload.get("action", "link")
        for request in kochava_.requests
        if IDFV in request.body.decode()  # the other one, in lower case, has no install
    ]
    assert actions == ["install", "event", "link"]


def test_an_install_that_fails_for_now_goes_before_the_links(destinations):
    failures = iter([Answer(503)] * 3)

    def answer(request):
        ok = Answer(200, {}, b'{"success":"1"}')
        return next(failures, ok) if request.action == "install" else ok

    transport = RecordingTransport(answer)
    destination = destinations(
        devices=True, relay=True, transport=transport, outbox_retry={"base": 0.01}
    )
    destination.enqueue(installed())
    destination.enqueue(engage())
    destination.flush(timeout=10)
    assert [r.action for r in transport.requests] == ["install"] * 4 + ["identity_link"]


def test_a_device_in_the_same_group_is_known_to_what_follows(destinations):
    destination = destinations(devices=True)
    assert kinds(destination.enqueue_many([ios(), engage()])) == ["queued", "queued"]
    assert [entry.action for entry in stored(destination)] == ["event", "identity_link"]


def test_the_latest_five_devices_are_linked(destinations):
    destination = destinations(devices=True)
    for number in range(7):
        destination.enqueue(ios(messageId=f"m-{number}", context__device__id=f"{IDFV}-{number}"))
    destination.enqueue(engage())
    links = stored(destination, states=("waiting",), message_id="e-1")
    assert [entry.payload["device_id"]["idfv"][-1] for entry in links] == ["6", "5", "4", "3", "2"]


def test_a_message_that_names_its_device_needs_no_directory(destinations):
    destination = destinations(devices=True)
    destination.enqueue(ios())
    destination.enqueue(engage(context=android()["context"], traits={}))
    link = stored(destination)[-1]
    assert link.payload["device_id"] == {"adid": ADID, "android_id": ANDROID_ID}


def test_an_anonymous_visitor_is_known_as_well(destinations):
    destination = destinations(devices=True)
    destination.enqueue(ios(userId=MISSING))
    assert destination.enqueue(engage(anonymousId="a-42")).kind is OutcomeKind.QUEUED


def test_the_directory_knows_the_app_where_the_message_names_none(tmp_path):
    with KochavaDestination(
        outbox=tmp_path / "outbox", relay=False, devices=True, app_guids={"ios": "koios"}
    ) as destination:
        with pytest.raises(ConfigurationError, match="app_guid"):
            destination.enqueue(engage())
        destination.enqueue(ios())
        destination.enqueue(engage())
        assert [entry.app_guid for entry in stored(destination)] == ["koios", "koios"]


def test_a_user_without_devices_is_an_error_with_a_hint(destinations):
    with pytest.raises(InvalidEventPayload, match="Send Mobile IDs"):
        destinations(devices=True).enqueue(engage())


def test_without_the_directory_nothing_is_remembered(destinations):
    destination = destinations()
    destination.enqueue(ios())
    assert destination.forget("u-42").devices == 0
    with pytest.raises(InvalidEventPayload, match="device directory"):
        destination.enqueue(engage())


def test_filters_come_before_the_directory(destinations):
    destination = destinations(devices=True)
    destination.enqueue(ios())
    with pytest.raises(EventFiltered):
        destination.enqueue(engage(integrations={"Kochava": False}))


def test_what_the_outbox_did_not_take_is_not_remembered_either(destinations, monkeypatch):
    destination = destinations(devices=True)

    def fail(*_):
        raise OutboxFull("there is no room")

    with monkeypatch.context() as patched:
        patched.setattr(destination.outbox, "put_in", fail)  # what comes after the directory
        with pytest.raises(OutboxFull):
            destination.enqueue(ios())
    with pytest.raises(InvalidEventPayload):
        destination.enqueue(engage())
    destination.enqueue(ios())
    assert destination.enqueue(engage()).kind is OutcomeKind.QUEUED


# Deletion.


def test_a_deletion_discards_forgets_and_asks_kochava(destinations, kochava):
    destination = destinations(
        devices=True, account_id="7", account_key="account-key",
        account_app_ids={"koapp": "9"}, endpoint=kochava.url, privacy_endpoint=kochava.url,
    )  # fmt: skip
    destination.enqueue_many([ios(), android(messageId="m-2"), ios(messageId="m-3", userId="u-1")])
    outcome = destination.enqueue({"type": "delete", "userId": "u-42", "messageId": "d-1"})
    assert (outcome.kind, outcome.message_id) == (OutcomeKind.QUEUED, "d-1")
    assert destination.flush(timeout=0).states == {"discarded": 2, "waiting": 3}
    sending = destinations(
        relay=True, account_id="7", account_key="account-key", endpoint=kochava.url,
        privacy_endpoint=kochava.url,
    )  # fmt: skip
    assert sending.flush(timeout=10).pending == 0
    kochava.assert_no_complaints()
    deletions = [r for r in kochava.requests if "privacy" in r.path]
    assert {request.path for request in deletions} == {"/accounts/7/apps/9/privacy/scrub"}
    assert {request.headers["Authentication-Key"] for request in deletions} == {"account-key"}
    assert not any("Kochava-Api-Key" in request.headers for request in deletions)
    assert sorted(request.body for request in deletions) == sorted(
        json.dumps({"device_ids": ids}, separators=(",", ":")).encode()
        for ids in (
            [{"id_type": "idfa", "id_value": IDFA}, {"id_type": "idfv", "id_value": IDFV}],
            [{"id_type": "adid", "id_value": ADID}, {"id_type": "android_id", "id_value": ANDROID_ID}],
        )
    )  # fmt: skip
    assert sum(r.path == "/track/json" for r in kochava.requests) == 1, "that of the other user"


def test_forget_says_what_it_did(destinations):
    destination = destinations(devices=True, account_id="7", account_key="key")
    destination.enqueue_many([ios(), ios(messageId="m-2")])
    done = destination.forget("u-42")
    assert (done.devices, done.discarded, done.deletion_requests) == (1, 2, 1)
    again = destination.forget("u-42")
    assert (again.devices, again.discarded, again.deletion_requests) == (0, 0, 0)
    with pytest.raises(InvalidEventPayload):
        destination.enqueue(engage())


def test_without_an_account_kochava_is_not_asked(destinations):
    destination = destinations(devices=True)
    destination.enqueue(ios())
    done = destination.forget("u-42")
    assert (done.devices, done.discarded, done.deletion_requests) == (1, 1, 0)


def test_a_user_is_found_however_their_id_was_written(destinations):
    destination = destinations()
    destination.enqueue(ios(userId=4711))
    assert destination.forget("4711").discarded == 1


def test_a_deletion_in_a_group_is_for_what_came_before_it(destinations):
    destination = destinations()
    outcomes = destination.enqueue_many(
        [ios(), {"type": "delete", "userId": "u-42"}, ios(messageId="m-2")]
    )
    assert kinds(outcomes) == ["queued", "queued", "queued"]
    assert [entry.state for entry in stored(destination)] == ["discarded", "waiting"]


def test_a_deletion_that_names_nobody_is_invalid(destinations):
    with pytest.raises(InvalidEventPayload, match="userId: is missing"):
        destinations().enqueue({"type": "delete"})


def test_a_deletion_that_comes_again_asks_once(destinations):
    destination = destinations(devices=True, account_id="7", account_key="key")
    for number in range(2):
        destination.enqueue(ios(messageId=f"m-{number}"))
        destination.enqueue({"type": "delete", "userId": "u-42", "messageId": "d-1"})
    assert sum(entry.action == "deletion" for entry in stored(destination)) == 1


def test_a_refused_account_key_does_not_pause_the_apps(destinations, caplog):
    def answer(request):
        denied = request.action == "deletion"
        return Answer(403) if denied else Answer(200, {}, b'{"success":"1"}')

    destination = destinations(
        devices=True, account_id="7", account_key="key", relay=True,
        transport=RecordingTransport(answer),
    )  # fmt: skip
    with caplog.at_level(logging.CRITICAL):
        destination.enqueue(ios())
        destination.flush(timeout=10)
        destination.forget("u-42")
        destination.enqueue(ios(messageId="m-2"))
        status = destination.flush(timeout=10)
    assert status.states == {"delivered": 2, "paused": 1}
    assert status.paused == ("account 7",)


# Flush, start, stop, close.


def test_flush_gives_up_in_time_and_says_what_is_left(destinations):
    destination = destinations()
    destination.enqueue(ios())
    began = time.monotonic()
    assert destination.flush(timeout=0.2).states == {"waiting": 1}
    assert 0.2 <= time.monotonic() - began < 2


def test_flush_does_not_wait_for_what_is_paused(destinations):
    destination = destinations(relay=True, transport=RecordingTransport(lambda _: Answer(401)))
    destination.enqueue(ios())
    began = time.monotonic()
    assert destination.flush(timeout=20).states == {"paused": 1}
    assert time.monotonic() - began < 10


def test_a_stopped_relay_rests_until_it_is_started(destinations):
    transport = RecordingTransport()
    destination = destinations(relay=True, transport=transport)
    destination.start_relay(wait=5)
    assert destination.stop_relay()
    destination.enqueue(ios())
    time.sleep(0.1)
    assert transport.requests == ()
    destination.start_relay()
    assert destination.flush(timeout=10).states == {"delivered": 1}


def test_flush_starts_a_stopped_relay(destinations):
    destination = destinations(relay=True, transport=RecordingTransport())
    destination.enqueue(ios())
    destination.stop_relay()
    destination.enqueue(ios(messageId="m-2"))
    assert destination.flush(timeout=10).pending == 0


def test_after_close_it_stores_and_does_not_send(destinations):
    transport = RecordingTransport()
    destination = destinations(relay=True, transport=transport)
    destination.close()
    destination.enqueue(ios())
    assert destination.flush(timeout=0.1).states == {"waiting": 1}
    assert transport.requests == ()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_sigterm_stops_the_relay_and_then_ends_the_process(tmp_path, kochava):
    script = """
        import sys, threading, time
        from kochava_segment import KochavaDestination
        from tests.messages import ios
        destination = KochavaDestination(
            "koapp", outbox=sys.argv[1], endpoint=sys.argv[2], stop_on_sigterm=True
        )
        threading.Thread(
            target=lambda: KochavaDestination("koapp", outbox=sys.argv[1], stop_on_sigterm=True)
        ).start()
        destination.enqueue_many(ios(messageId=str(n), anonymousId=str(n)) for n in range(200))
        print("ready", flush=True)
        for _ in range(600):  # not once: Python tells of a signal between two calls
            time.sleep(0.1)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "outbox"), kochava.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == -signal.SIGTERM
    process.stdout.close()
    with KochavaDestination("koapp", outbox=tmp_path / "outbox", relay=False) as destination:
        status = destination.flush(timeout=0)
    assert status.count("in flight") == 0, "it was stopped, not killed"
    assert status.count("delivered") == kochava.counted
