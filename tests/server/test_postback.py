"""`/kochava/postback/{secret}`: parameters from wherever they come, and Segment told once."""

import logging
from urllib.parse import urlencode

import pytest

from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server import create_app
from tests.server.asgi import JSON, call, encoded, zipped

SECRET = "postback-secret"
PATH = f"/kochava/postback/{SECRET}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
POSTBACK = {
    "event_name": "_install",
    "network_name": "Net work",
    "campaign_name": "Spring & more",
    "kochava_device_id": "kd-1",
    "user_id": "u-1",
}


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    """A queue towards a Segment that nobody reaches."""
    with SegmentTracking(tmp_path / "to-segment.sqlite3", "key", "http://127.0.0.1:9") as running:
        monkeypatch.setattr(running._relay, "start", lambda **_: None)
        yield running


@pytest.fixture
def app(destination, tracking):
    return create_app(destination, postback_secret=SECRET, tracking=tracking)


def stored(tracking):
    return [entry.payload for entry in entries(tracking.outbox, EntryFilter(), bodies=True)]


WAYS = {
    "query": ("GET", f"{PATH}?{urlencode(POSTBACK)}", b"", {}),
    "query of a POST": ("POST", f"{PATH}?{urlencode(POSTBACK)}", b"", {}),
    "form": ("POST", PATH, urlencode(POSTBACK).encode(), FORM),
    "JSON": ("POST", PATH, encoded(POSTBACK), JSON),
    "gzip": ("POST", PATH, *zipped(encoded(POSTBACK), JSON)),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_install_is_queued_for_segment(app, tracking, destination, way):
    answer = call(app, *WAYS[way])
    assert (answer.status, answer.json) == (202, {"outcome": "queued"})
    assert stored(tracking) == [destination.install_attribution(POSTBACK)]


def test_the_same_install_in_any_way_is_one_event(app, tracking):
    statuses = [call(app, *way).status for way in WAYS.values()]
    assert statuses == [202, 200, 200, 200, 200]
    assert len(stored(tracking)) == 1


@pytest.mark.parametrize("media", [FORM, JSON])
def test_the_body_wins_over_the_query(app, tracking, media):
    own = {"USER_ID": "from-the-body"}
    body = urlencode(own).encode() if media is FORM else encoded(own)
    call(app, "POST", f"{PATH}?{urlencode(POSTBACK)}", body, media)
    (message,) = stored(tracking)
    assert message["userId"] == "from-the-body"
    assert message["properties"]["campaign"]["source"] == "Net work"


def test_a_postback_about_something_else_is_a_200(app, tracking):
    answer = call(app, "GET", f"{PATH}?event_name=Purchase&kochava_device_id=1")
    assert (answer.status, answer.json) == (200, {"outcome": "unsupported"})
    assert stored(tracking) == []


def test_a_postback_that_names_nobody_is_a_400(app, tracking):
    answer = call(app, "GET", f"{PATH}?network_name=s3cr3t")
    assert (answer.status, answer.json["problems"][0]["path"]) == (400, "postback")
    assert b"s3cr3t" not in answer.body
    assert stored(tracking) == []


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"),
    [
        ("POST", PATH, b"a=b", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("POST", PATH, b"a=b", {}, 415),
        ("POST", PATH, b"{", JSON, 400),
        ("POST", PATH, b"[1]", JSON, 400),
        ("POST", PATH, b'{"user_id":"a","user_id":"b"}', JSON, 400),
        ("POST", PATH, b"user_id=%ff", FORM, 400),
        ("POST", PATH, b"user_id=\xff", FORM, 400),
        ("GET", f"{PATH}?user_id=%ff", b"", {}, 400),
        ("GET", f"{PATH}?" + "a=b&" * 201 + "user_id=u", b"", {}, 400),
        ("POST", PATH, b"user_id=" + b"u" * 70_000, FORM, 413),
        ("POST", PATH, b'{"user_id":{"a":1}}', JSON, 400),
        ("GET", f"{PATH}?user_id={'u' * 40_000}", b"", {}, 400),
        ("HEAD", f"{PATH}?{urlencode(POSTBACK)}", b"", {}, 405),
        ("PUT", f"{PATH}?{urlencode(POSTBACK)}", b"", {}, 405),
    ],
)
def test_what_cannot_be_taken_is_said(app, tracking, method, target, body, headers, status):
    assert call(app, method, target, body, headers).status == status
    assert stored(tracking) == []


@pytest.mark.parametrize("secret", ["wrong", SECRET + "x", SECRET[:-1], "é", "%20", "x" * 5000])
def test_a_wrong_secret_is_a_404_and_is_not_logged(app, caplog, secret):
    caplog.set_level(logging.DEBUG)
    answer = call(app, "GET", f"/kochava/postback/{secret}?{urlencode(POSTBACK)}")
    assert answer.status == 404
    assert "postback: 404 to 127.0.0.1" in caplog.text
    for text in (SECRET, "/kochava/postback/", "kd-1"):
        assert text not in caplog.text


def test_without_a_secret_or_a_way_to_segment_there_is_nothing(destination, tracking):
    for settings in (
        {},
        {"postback_secret": SECRET},
        {"tracking": tracking},
    ):
        app = create_app(destination, **settings)
        for path in (PATH, "/kochava/postback/None", "/kochava/postback/"):
            assert call(app, "GET", f"{path}?{urlencode(POSTBACK)}").status == 404


def test_a_queue_that_takes_nothing_is_a_503(app, tracking, monkeypatch):
    from kochava_segment import OutboxFull

    def put(*_, **__):
        raise OutboxFull("full")

    monkeypatch.setattr(tracking.outbox, "put", put)
    answer = call(app, *WAYS["query"])
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
