"""`/metrics`: what Prometheus reads, with labels that cannot grow."""

import time

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kochava_segment import Answer, KochavaDestination, RecordingTransport, TransportFailure
from kochava_segment.delivery import leases
from kochava_segment.delivery.outbox_inspection import (
    FAILED_STATES,
    PENDING_STATES,
    outbox_depth,
    outbox_status,
)
from kochava_segment.delivery.prometheus import PrometheusHook
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server import create_app, metrics
from kochava_segment.server.status import CountedDepth
from tests.messages import MISSING, ios
from tests.server.asgi import BEARER, JSON, TOKEN, call, encoded


def scraped(app):
    answer = call(app, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer)


def parsed(answer):
    return {
        (sample.name.removeprefix("kochava_segment_"), *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())))


def post(app, message):
    return call(app, "POST", "/segment", encoded(message), {**JSON, **BEARER})


def test_messages_are_counted_by_outcome_and_reason(app):
    post(app, ios())
    post(app, ios())
    post(app, [ios(messageId="b"), ios(integrations={"All": False}), ios(event=MISSING), 3])
    post(app, ios(type="group"))
    call(app, "POST", "/segment", b"{}", JSON)
    found = scraped(app)
    for outcome, reason, count in (
        ("queued", "", 2),
        ("duplicate", "", 1),
        ("filtered", "FILTERED_BY_INTEGRATIONS_OBJECT", 1),
        ("invalid", "", 2),
        ("unsupported", "", 1),
    ):
        assert value(found, "received_total", outcome=outcome, reason=reason) == count
    for status, count in (("202", 1), ("200", 2), ("501", 1), ("401", 1)):
        assert value(found, "http_requests_total", endpoint="segment", status=status) == count
    assert value(found, "http_seconds_count", endpoint="segment") == 5


def test_the_outbox_is_counted_when_it_is_asked_for(app, destination):
    destination.enqueue_many([ios(messageId=str(number)) for number in range(7)])
    time.sleep(0.05)
    found = scraped(app)
    assert value(found, "outbox_requests", queue="kochava", state="waiting") == 7
    assert value(found, "outbox_requests", queue="kochava", state="ambiguous") == 0
    assert 0.04 < value(found, "outbox_oldest_seconds", queue="kochava") < 60
    assert value(found, "outbox_bytes", queue="kochava") > 4096
    assert value(found, "outbox_paused_apps", queue="kochava") == 0
    assert value(found, "rate_limit") == float("inf")
    assert not any(name[0] == "relay_alive" for name in found), "no relay is to run here"


def test_the_queue_towards_segment_is_counted_as_well(destination, tmp_path):
    with SegmentTracking(tmp_path / "q.sqlite3", "key", "http://127.0.0.1:9") as tracking:
        app = create_app(destination, tracking=tracking, postback_secret="s")
        for target in ("user_id=u", "user_id=u", "user_id=u&event_name=x", "nobody=1"):
            call(app, "GET", f"/kochava/postback/s?{target}")
        found = scraped(app)
    counted = {
        outcome: value(found, "postbacks_total", outcome=outcome)
        for outcome in ("queued", "duplicate", "unsupported", "invalid")
    }
    assert counted == dict.fromkeys(counted, 1)
    states = ("waiting", "in flight")
    assert sum(value(found, "outbox_requests", queue="segment", state=s) for s in states) == 1
    assert value(found, "relay_alive", queue="segment") == 1


def test_an_outbox_that_cannot_be_counted_in_time_leaves_the_rest(app, monkeypatch):
    post(app, ios())
    assert value(scraped(app), "outbox_bytes", queue="kochava") > 0
    monkeypatch.setattr(metrics, "_COUNTED_WITHIN", 0.05)
    monkeypatch.setattr(CountedDepth, "get", lambda _self: time.sleep(0.3))
    found = scraped(app)
    assert value(found, "received_total", outcome="queued", reason="") == 1
    assert value(found, "outbox_bytes", queue="kochava") is None


def answers(*statuses):
    left = list(statuses)

    def answer(_request):
        status = left.pop(0)
        if status is None:
            raise TransportFailure("lost", maybe_sent=True)
        return Answer(status, {}, b"")

    return RecordingTransport(answer)


def delivered(tmp_path, hook, *statuses, messages=None, **options):
    """What was counted once all was sent through the outbox."""
    with KochavaDestination(
        "koexample",
        app_guids={"android": "koandroid"},
        outbox=tmp_path / "outbox.sqlite3",
        transport=answers(*statuses),
        hooks=[hook],
        outbox_retry={"base": 0.01, "cap": 0.01},
        **options,
    ) as kochava:
        app = create_app(kochava, bearer_token=TOKEN)
        for message in messages or [ios()]:
            kochava.enqueue(message)
        kochava.flush(10)
        kochava.stop_relay()
        return scraped(app)


def test_deliveries_are_counted_by_app_action_and_outcome(tmp_path):
    found = delivered(tmp_path, PrometheusHook(CollectorRegistry()), 503, None, 200)
    labels = {"app": "koexample", "action": "event"}
    for status in ("503", "none", "200"):
        assert value(found, "attempts_total", **labels, status=status) == 1
    assert value(found, "retries_total", **labels) == 2
    assert value(found, "deliveries_total", **labels, outcome="accepted") == 1
    assert value(found, "attempt_seconds_count", action="event") == 3
    assert value(found, "delivery_seconds_count", outcome="accepted") == 1


def test_failures_are_counted_by_their_name(tmp_path):
    found = delivered(tmp_path, PrometheusHook(CollectorRegistry()), 400)
    labels = {"app": "koexample", "action": "event", "outcome": "Rejected"}
    assert value(found, "deliveries_total", **labels) == 1


def test_apps_that_were_not_configured_are_one_label(tmp_path):
    messages = [
        ios(messageId=str(n), integrations={"Kochava": {"app_guid": f"kostranger{n}"}})
        for n in range(5)
    ]
    found = delivered(tmp_path, PrometheusHook(CollectorRegistry()), *[200] * 5, messages=messages)
    assert value(found, "deliveries_total", app="other", action="event", outcome="accepted") == 5
    assert not any("kostranger" in str(name) for name in found)


def test_the_hook_works_without_the_server():
    registry = CollectorRegistry()
    hook = PrometheusHook(registry, ["koexample"])
    with KochavaDestination("koexample", transport=answers(200), hooks=[hook]) as kochava:
        kochava.send(ios())
    labels = {"app": "koexample", "action": "event"}
    name = "kochava_segment_deliveries_total"
    assert registry.get_sample_value(name, {**labels, "outcome": "accepted"}) == 1


def test_two_applications_of_one_destination_do_not_clash(destination):
    first, second = create_app(destination), create_app(destination)
    call(first, "POST", "/segment", encoded(ios()), JSON)
    assert value(scraped(first), "received_total", outcome="queued", reason="") == 1
    assert value(scraped(second), "received_total", outcome="queued", reason="") is None


def test_no_label_comes_from_a_message(app):
    for number in range(20):
        post(app, ios(event=f"Event {number}", userId=f"u-{number}", messageId=f"m-{number}"))
        post(app, ios(type=f"kind-{number}"))
        call(app, "POST", f"/elsewhere/{number}", b"", {})
    scraped(app)  # which counts as well, from the second time on
    before = len(scraped(app))
    for number in range(20, 40):
        post(app, ios(event=f"Event {number}", userId=f"u-{number}", messageId=f"m-{number}"))
        post(app, ios(type=f"kind-{number}"))
    assert len(scraped(app)) == before


@pytest.mark.parametrize("limit", [5.0, None])
def test_the_rate_limit_is_that_of_the_relay(tmp_path, limit):
    with KochavaDestination(
        "k", outbox=tmp_path / "o.sqlite3", relay=False, max_rate=limit
    ) as kochava:
        found = scraped(create_app(kochava))
    assert value(found, "rate_limit") == (limit or float("inf"))


def test_the_depth_agrees_with_the_status(tmp_path):
    """Counted by other indexes, the same must come out, whatever the states are."""
    statuses = {"m-1": 400, "m-2": 200, "m-3": 501}
    transport = RecordingTransport(
        lambda request: Answer(statuses.get(request.message_id, 401), {}, b"")
    )
    with KochavaDestination(
        "koexample", outbox=tmp_path / "o.sqlite3", relay=False, transport=transport
    ) as kochava:
        empty = outbox_depth(kochava.outbox)
        assert (sum(empty.states.values()), empty.oldest_age, empty.paused) == (0, None, ())
        kochava.enqueue_many([ios(messageId=name) for name in statuses])
        for step in range(3):
            if step == 1:
                kochava.start_relay()
                kochava.flush(10)
                kochava.enqueue_many(
                    [
                        ios(messageId=f"p-{n}", integrations={"Kochava": {"app_guid": "kopaused"}})
                        for n in range(4)
                    ]
                )
                _until(lambda: outbox_status(kochava.outbox).paused)
                kochava.stop_relay()
            elif step == 2:
                kochava.enqueue(ios(messageId="later"))
                with kochava.outbox.file.writing() as cursor:
                    relay = leases.register(cursor, "other", 60.0)
                    leases.lease(cursor, relay, requests=1, per_lane=1)
            depth, status = outbox_depth(kochava.outbox), outbox_status(kochava.outbox)
            counted = {state: count for state, count in depth.states.items() if count}
            undone = (*PENDING_STATES, *FAILED_STATES)
            assert counted == {s: count for s, count in status.states.items() if s in undone}
            assert depth.paused == status.paused
            assert depth.used_bytes == status.used_bytes
            assert depth.oldest_age == pytest.approx(status.oldest_age, abs=0.5)
        assert counted == {"rejected": 2, "paused": 4, "in flight": 1}


def _until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
