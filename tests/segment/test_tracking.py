"""What goes to Segment: kept until it has arrived, sent once, and logged by nobody."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest
import segment.analytics

from kochava_segment import ConfigurationError, InvalidEventPayload, OutcomeKind
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.segment import tracking as module
from kochava_segment.segment.tracking import SegmentTracking
from tests.segment.fake_segment import FakeSegment

MESSAGE = {
    "type": "track",
    "event": "Install Attributed",
    "messageId": "kochava-1",
    "anonymousId": "device-1",
    "timestamp": "2026-03-20T18:06:56Z",
    "properties": {"provider": "Kochava", "campaign": {"source": "Net"}},
    "context": {"device": {"id": "device-1"}, "ip": "203.0.113.7"},
    "integrations": {"Kochava": False},
}
KEY = "write-key-1"


def numbered(number):
    return {**MESSAGE, "messageId": f"kochava-{number}"}


@pytest.fixture
def fake():
    with FakeSegment() as running:
        yield running


@pytest.fixture
def tracking(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RETRY", module.RetryPolicy(base=0.02, cap=0.05, max_attempts=20))
    with SegmentTracking(tmp_path / "to-segment.sqlite3", KEY, fake.url) as running:
        yield running


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def states(tracking):
    return dict(outbox_status(tracking.outbox).states)


def test_a_message_arrives_as_it_is(tracking, fake):
    assert tracking.enqueue(MESSAGE).kind is OutcomeKind.QUEUED
    until(lambda: states(tracking) == {"delivered": 1})
    (received,) = fake.received
    assert received["path"] == "/v1/batch"
    assert received["key"] == KEY
    assert received["document"]["batch"] == [MESSAGE]
    assert received["document"]["writeKey"] == KEY


def test_the_same_message_id_is_sent_once(tracking, fake):
    kinds = [tracking.enqueue(MESSAGE).kind for _ in range(3)]
    until(lambda: states(tracking) == {"delivered": 1})
    kinds.append(tracking.enqueue(MESSAGE).kind)
    assert kinds == ["queued", "duplicate", "duplicate", "duplicate"]
    time.sleep(0.1)
    assert len(fake.messages) == 1


def test_many_at_once_each_in_its_place(tracking, fake):
    large = {**MESSAGE, "messageId": "large", "properties": {"text": "x" * 40_000}}
    outcomes = tracking.enqueue_many([numbered(1), large, numbered(2), numbered(1)])
    assert [(one.index, str(one.kind)) for one in outcomes] == [
        (0, "queued"),
        (1, "invalid"),
        (2, "queued"),
        (3, "duplicate"),
    ]
    until(lambda: states(tracking) == {"delivered": 2})
    assert sorted(message["messageId"] for message in fake.messages) == ["kochava-1", "kochava-2"]
    assert {len(one["document"]["batch"]) for one in fake.received} == {1}


def test_a_message_too_large_for_segment_is_refused_with_its_size(tracking):
    def sized(size):
        empty = {**MESSAGE, "properties": {"text": ""}}
        return {**MESSAGE, "properties": {"text": "x" * (size - len(module.json.dumps(empty)))}}

    with pytest.raises(InvalidEventPayload, match="has 32769 bytes as JSON; Segment takes 32768"):
        tracking.enqueue(sized(32_769))
    assert tracking.enqueue(sized(32_768)).kind is OutcomeKind.QUEUED


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_is_no_json_is_refused(tracking, value):
    with pytest.raises(InvalidEventPayload, match="must be JSON"):
        tracking.enqueue({**MESSAGE, "properties": {"x": value}})


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, {}),
        (503, {}, "no object"),
        (429, {"Retry-After": "0"}, {"code": "too_many", "message": "slow"}),
        (408, {}, None),
        "reset",
    ],
)
def test_what_may_pass_is_tried_again(tracking, fake, answer):
    fake.answers = [answer, answer]
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"delivered": 1})
    assert fake.messages == [MESSAGE]


@pytest.mark.parametrize("status", [400, 404, 413])
def test_what_segment_refuses_is_kept_for_a_person(tracking, fake, status):
    fake.answers = [(status, {}, {"code": "bad", "message": "secret content"})]
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"rejected": 1})
    (entry,) = entries(tracking.outbox, EntryFilter(), bodies=True)
    assert (entry.status, entry.payload) == (status, MESSAGE)
    assert entry.reason == "Segment refused the request"
    assert fake.messages == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_write_key_pauses_and_loses_nothing(fake, tmp_path, caplog, status):
    path = tmp_path / "to-segment.sqlite3"
    fake.answers = [(status, {}, {"code": "key", "message": "no"})]
    with SegmentTracking(path, KEY, fake.url) as tracking:
        tracking.enqueue(MESSAGE)
        until(lambda: states(tracking) == {"paused": 1})
        tracking.enqueue(numbered(2))
        time.sleep(0.3)
        assert fake.refused == 1
    (loud,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"Segment refused its credentials (status {status})" in loud
    assert "mend segment_write_key" in loud
    with SegmentTracking(path, "write-key-2", fake.url) as tracking:
        tracking.start_relay()
        until(lambda: states(tracking) == {"delivered": 2})
    assert {one["key"] for one in fake.received} == {"write-key-2"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_no_success(tracking, fake, status):
    fake.answers = [(status, {"Location": f"{fake.url}/elsewhere"}, {})]
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"rejected": 1})
    (entry,) = entries(tracking.outbox, EntryFilter())
    assert entry.status == status
    assert not fake.received


def test_no_key_but_the_one_it_was_given_goes_to_segment(tracking, fake, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"delivered": 1})
    assert [one["key"] for one in fake.received] == [KEY]


def test_segment_s_own_client_in_the_same_process_is_left_as_it_is(tracking):
    import segment.analytics.request as theirs

    assert theirs._session.auth is None
    assert tracking._transport._session is not theirs._session


def test_a_segment_that_is_away_gets_all_once_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RETRY", module.RetryPolicy(base=0.02, cap=0.05, max_attempts=500))
    with FakeSegment() as fake:
        url = fake.url
    attempts = []

    class Hook:
        def attempt(self, event):
            attempts.append(event)

        def retry_scheduled(self, event):
            pass

        def outcome(self, event):
            pass

    with SegmentTracking(tmp_path / "q.sqlite3", KEY, url, hooks=(Hook(),)) as tracking:
        tracking.enqueue(MESSAGE)
        until(lambda: len(attempts) >= 3)
        assert states(tracking) == {"waiting": 1} or states(tracking) == {"in flight": 1}
        assert not any(event.maybe_sent for event in attempts)
        assert {event.app_guid for event in attempts} == {"segment"}


def test_nothing_of_a_message_is_logged_even_for_debugging(tracking, fake, caplog):
    caplog.set_level(logging.DEBUG)
    fake.answers = [(500, {}, {"code": "x", "message": "content: device-1"})]
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"delivered": 1})
    for content in (KEY, "device-1", "203.0.113.7", "Net"):
        assert content not in caplog.text


@pytest.mark.usefixtures("tracking")
def test_others_who_use_segment_s_client_keep_their_log(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("segment").debug("theirs")
    assert "theirs" in caplog.text


def test_who_looks_into_the_queue_reads_of_segment_and_not_of_kochava(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RETRY", module.RetryPolicy(base=0.02, cap=0.05, max_attempts=2))
    fake.answers = [(503, {}, {}), (503, {}, {}), "reset", "reset", (401, {}, {})]
    with SegmentTracking(tmp_path / "q.sqlite3", KEY, fake.url) as tracking:
        reasons = []
        for number, state in enumerate(["exhausted", "ambiguous", "paused"]):
            tracking.enqueue(numbered(number))
            until(lambda state=state: states(tracking).get(state) == 1)
            reasons += [entry.reason for entry in entries(tracking.outbox, EntryFilter())]
        assert not any("Kochava" in (reason or "") for reason in reasons)
        assert "Segment answered 503" in reasons


def test_segment_s_own_client_is_not_started(tracking):
    tracking.enqueue(MESSAGE)
    until(lambda: states(tracking) == {"delivered": 1})
    assert segment.analytics.default_client is None


@pytest.mark.parametrize(
    ("key", "host", "named"),
    [
        ("", module.SEGMENT, "segment_write_key"),
        (KEY, "api.segment.io", "segment_host"),
        (KEY, "http://api.segment.io", "segment_host"),
    ],
)
def test_wrong_settings_are_named(tmp_path, key, host, named):
    with pytest.raises(ConfigurationError, match=named):
        SegmentTracking(tmp_path / "q.sqlite3", key, host)


def test_the_file_is_beside_the_outbox(tmp_path):
    with SegmentTracking.beside(tmp_path / "kochava.sqlite3", KEY) as tracking:
        assert tracking.outbox.file.path == tmp_path / "kochava-to-segment.sqlite3"


def test_hosts_are_those_that_segment_documents():
    assert module.SEGMENT == "https://api.segment.io"
    assert module.SEGMENT_EU == "https://events.eu1.segmentapis.com"


KILLED = """
import sys
from kochava_segment.segment.tracking import SegmentTracking
tracking = SegmentTracking(sys.argv[1], "write-key-1", sys.argv[2])
tracking._relay.start = lambda: None  # it would lease some, which takes 10 s to be given back
for number in range(int(sys.argv[3])):
    tracking.enqueue({"type": "track", "event": "x", "messageId": f"kochava-{number}", "userId": "u"})
    print(number, flush=True)
sys.stdin.read()
"""


def test_what_was_stored_outlives_a_killed_process(tmp_path, fake):
    path = tmp_path / "to-segment.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), "http://127.0.0.1:9", "30"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        for _ in range(30):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    with SegmentTracking(path, KEY, fake.url) as tracking:
        tracking.start_relay()
        until(lambda: len({message["messageId"] for message in fake.messages}) == 30, 30)


def test_without_the_extra_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "segment.analytics.request", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kochava-segment\[segment\]'"):
        SegmentTracking(tmp_path / "q.sqlite3", KEY)
