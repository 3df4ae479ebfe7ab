"""The loop, with processes at every corner: Segment, the receiver, Kochava, and back to Segment."""

import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import outbox_status
from tests.cli.process import environment, start
from tests.long import many
from tests.messages import IDFA, IDFV, MISSING, ios
from tests.server.asgi import BEARER, JSON, encoded, signed
from tests.server.process import serving

POSTBACK_SECRET = "postback-secret"
POSTBACK = {
    "event_name": "_install",
    "network_name": "Some Network",
    "campaign_name": "Spring",
    "campaign_id": "c-7",
    "click_date": "2026-03-20T17:00:00Z",
    "install_date": "1774030016",
    "kochava_device_id": IDFV,
    "idfa": IDFA,
    "user_id": "u-42",
}


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@contextmanager
def process_with_url(*command, **options):
    """A process that says on its first line where it listens."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    ) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()
            process.stdout.close()


@contextmanager
def kochava(log):
    emulator = start("emulator", "--log", str(log), env=environment())
    with emulator:
        try:
            yield emulator.stdout.readline().split()[-1]
        finally:
            emulator.kill()
            emulator.stdout.close()
            emulator.stderr.close()


@contextmanager
def fake_segment():
    with process_with_url(sys.executable, "-m", "tests.segment.fake_segment") as url:

        def received():
            with urllib.request.urlopen(url, timeout=10) as answer:
                return [
                    message for one in json.load(answer) for message in one["document"]["batch"]
                ]

        yield url, received


@pytest.fixture
def corners(tmp_path):
    """The emulator's log, the receiver, and what Segment has got."""
    log = tmp_path / "kochava.jsonl"
    log.touch()
    with (
        kochava(log) as endpoint,
        fake_segment() as (segment, received),
        serving(
            tmp_path / "kochava.sqlite3",
            *("--endpoint", endpoint, "--devices", "--segment-host", segment),
            relay=True,
            KOCHAVA_SEGMENT_POSTBACK_SECRET=POSTBACK_SECRET,
            KOCHAVA_SEGMENT_SEGMENT_WRITE_KEY="write-key",
        ) as receiver,
    ):

        def counted():
            return [json.loads(line) for line in log.read_text("utf-8").splitlines()]

        yield receiver, counted, received


def posted_back(receiver, parameters=None):
    path = f"/kochava/postback/{POSTBACK_SECRET}?{urlencode(parameters or POSTBACK)}"
    status, body = receiver.request("GET", path)
    return status, json.loads(body)["outcome"]


def test_an_install_goes_round_once_and_no_further(corners):
    receiver, counted, received = corners

    # Segment tells of an install, which goes to Kochava.
    install = ios(event="Application Installed", messageId="install-1")
    assert receiver.post(install)[0] == 202
    until(lambda: len(counted()) == 1)
    (at_kochava,) = counted()
    assert at_kochava["body"]["action"] == "install"
    assert at_kochava["body"]["data"]["device_ids"] == {"idfa": IDFA, "idfv": IDFV}

    # Kochava attributes it, and says so three times, since it got no answer in time.
    outcomes = [posted_back(receiver) for _ in range(3)]
    assert outcomes == [(202, "queued"), (200, "duplicate"), (200, "duplicate")]
    until(lambda: len(received()) == 1)
    (attributed,) = received()
    assert attributed["event"] == "Install Attributed"
    assert attributed["userId"] == "u-42"
    assert attributed["properties"] == {
        "provider": "Kochava",
        "campaign": {
            "source": "Some Network",
            "name": "Spring",
            "id": "c-7",
            "click_date": "2026-03-20T17:00:00Z",
        },
    }

    # Segment hands it on to all destinations, this one among them.
    def handed_on(**changes):
        status, body = receiver.post({**attributed, **changes})
        return status, json.loads(body)

    assert handed_on() == (
        200,
        {"outcome": "filtered", "reason": "FILTERED_BY_INTEGRATIONS_OBJECT"},
    )
    # Even if something on the way has lost the integrations object.
    assert handed_on(integrations={}) == (200, {"outcome": "filtered", "reason": "LOOP"})

    assert posted_back(receiver) == (200, "duplicate")
    time.sleep(0.5)
    assert (len(counted()), len(received())) == (1, 1)
    assert receiver.stop() == 0


def test_the_way_to_segment_outlives_the_receiver(tmp_path):
    outbox = tmp_path / "kochava.sqlite3"
    settings = {
        "KOCHAVA_SEGMENT_POSTBACK_SECRET": POSTBACK_SECRET,
        "KOCHAVA_SEGMENT_SEGMENT_WRITE_KEY": "write-key",
    }
    with serving(outbox, "--segment-host", "http://127.0.0.1:9", **settings) as receiver:
        assert posted_back(receiver) == (202, "queued")
        assert receiver.stop() == 0
    with (
        fake_segment() as (segment, received),
        serving(outbox, "--segment-host", segment, **settings) as receiver,
    ):
        until(lambda: len(received()) == 1, 60)
        assert posted_back(receiver) == (200, "duplicate")
        assert receiver.stop() == 0
        assert len(received()) == 1


def member(number, **changes):
    """An audience's message as Engage sends it: it names a user and no device."""
    return {
        "type": "identify",
        "messageId": f"audience-{number}",
        "userId": f"u-{number}",
        "traits": {"big_spenders": True},
        "context": {
            "personas": {"computation_class": "audience", "computation_key": "big_spenders"}
        },
        "integrations": {"All": False, "Kochava": True},
        **changes,
    }


def seen(number):
    return ios(
        event="Application Opened",
        messageId=f"seen-{number}",
        userId=f"u-{number}",
        anonymousId=f"a-{number}",
        context__device__id=f"7F2A1C5E-0B1D-4E0B-9E6F-{number:012X}",
        context__device__advertisingId=MISSING,
    )


def in_arrays(receiver, messages, size):
    """Post messages in arrays; gives what was not taken, by the place among all."""
    not_taken = {}
    for first in range(0, len(messages), size):
        body = encoded(messages[first : first + size])
        status, answer = receiver.request("POST", "/segment", body, {**JSON, **BEARER})
        assert status == 200, answer
        for one in json.loads(answer)["not_taken"]:
            not_taken[first + one["index"]] = one
    return not_taken


def sync_an_audience(corners, members, size):
    receiver, counted, _ = corners
    known = [number for number in range(members) if number % 10]  # one in ten has no device
    assert in_arrays(receiver, [seen(number) for number in known], size) == {}

    not_taken = in_arrays(receiver, [member(number) for number in range(members)], size)
    assert sorted(not_taken) == [number for number in range(members) if number % 10 == 0]
    for one in not_taken.values():
        assert one["outcome"] == "invalid"
        (problem,) = one["problems"]
        assert problem["path"] == "context.device.id"
        assert "device directory" in problem["detail"]

    # Nobody takes an array by its signature: it covers the first member alone.
    body = encoded([member(1), member(2)])
    assert receiver.request("POST", "/segment", body, signed(encoded(member(1))))[0] == 401

    until(lambda: len(counted()) == 2 * len(known), 300)
    links = [one["body"] for one in counted() if "identityLink" in one["path"]]
    assert len(links) == len(known)
    linked = {link["device_id"]["idfv"]: link["data"] for link in links}
    for number in known:
        data = linked[f"7F2A1C5E-0B1D-4E0B-9E6F-{number:012X}"]
        assert data == {"user_id": f"u-{number}", "big_spenders": "true"}
    assert receiver.stop() == 0
    box = Outbox(receiver.outbox)
    assert outbox_status(box).states == {"delivered": 2 * len(known)}
    box.close()


@pytest.mark.slow
def test_an_audience_reaches_every_device_that_is_known_and_lists_the_others(corners):
    sync_an_audience(corners, 500, 200)


@pytest.mark.slow
def test_an_audience_of_ten_thousand(corners):
    sync_an_audience(corners, many(10_000), 1_000)
