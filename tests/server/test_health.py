"""`/healthz` and `/readyz`, while things go wrong."""

import asyncio
import sqlite3
import threading
import time

import pytest

from kochava_segment import KochavaDestination, RecordingTransport
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server import create_app, health
from kochava_segment.server.status import CountedStatus, OneAtATime
from tests.messages import ios
from tests.server.asgi import JSON, acall, call, encoded


def problems(app):
    answer = call(app, "GET", "/readyz")
    assert answer.status == (503 if "problems" in answer.json else 200)
    return answer.json.get("problems", [])


def test_a_process_that_lives_says_so_whatever_the_outbox_does(tmp_path):
    (tmp_path / "outbox.sqlite3").write_bytes(b"no database" * 1000)
    with KochavaDestination("k", outbox=tmp_path / "outbox.sqlite3", relay=False) as kochava:
        app = create_app(kochava)
        assert call(app, "GET", "/healthz").json == {"status": "ok"}
        assert problems(app) == ["the outbox cannot be used: OutboxUnusable"]


def test_a_new_receiver_is_ready(app):
    assert problems(app) == []
    assert call(app, "GET", "/readyz").json == {"status": "ready"}


def test_a_probe_writes(app, destination):
    call(app, "GET", "/readyz")

    def size():
        return (destination.outbox.file.path.parent / "outbox.sqlite3-wal").stat().st_size

    before = size()
    call(app, "GET", "/readyz")
    assert size() > before
    with sqlite3.connect(destination.outbox.file.path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone()[0] > 0
    plain.close()


def test_an_outbox_that_is_locked_is_not_ready_and_probes_do_not_pile_up(
    app, destination, monkeypatch
):
    call(app, "GET", "/readyz")
    monkeypatch.setattr(health, "_CHECKED_WITHIN", 0.05)
    threads = threading.active_count()

    async def scenario():
        with destination.outbox.file.writing():
            answers = [await acall(app, "GET", "/readyz") for _ in range(10)]
            assert threading.active_count() <= threads + 2
        return answers

    answers = asyncio.run(scenario())
    assert {answer.status for answer in answers} == {503}
    assert "did not answer" in answers[0].json["problems"][0]
    monkeypatch.setattr(health, "_CHECKED_WITHIN", 4.0)
    assert problems(app) == []


def test_a_message_that_waits_too_long_is_not_ready(destination):
    app = create_app(destination, ready_within=0.1)
    destination.enqueue(ios())
    time.sleep(0.15)
    (problem,) = problems(app)
    assert problem.startswith("a message has waited for 0 s")


def test_a_relay_that_was_stopped_is_not_ready(tmp_path):
    with KochavaDestination(
        "koexample", outbox=tmp_path / "outbox.sqlite3", transport=RecordingTransport()
    ) as kochava:
        app = create_app(kochava)
        assert problems(app) == ["the relay to Kochava does not run"]
        kochava.start_relay()
        assert problems(app) == []
        kochava.stop_relay()
        assert problems(app) == ["the relay to Kochava does not run"]


def test_the_relay_to_segment_counts_as_well(destination, tmp_path):
    with SegmentTracking(tmp_path / "q.sqlite3", "key", "http://127.0.0.1:9") as tracking:
        app = create_app(destination, tracking=tracking, postback_secret="s")
        assert problems(app) == ["the relay to Segment does not run"]
        tracking.start_relay()
        assert problems(app) == []


def test_a_lifespan_starts_the_relays_and_stops_them(tmp_path):
    with (
        KochavaDestination(
            "koexample", outbox=tmp_path / "outbox.sqlite3", transport=RecordingTransport()
        ) as kochava,
        SegmentTracking(tmp_path / "q.sqlite3", "key", "http://127.0.0.1:9") as tracking,
    ):
        app = create_app(kochava, tracking=tracking, postback_secret="s")

        async def scenario(number):
            async with app.router.lifespan_context(app):
                assert kochava.relay_alive
                assert tracking.relay_alive
                assert (await acall(app, "GET", "/readyz")).status == 200
                body = encoded(ios(messageId=str(number)))
                assert (await acall(app, "POST", "/segment", body, JSON)).status == 202

        for number in range(2):  # a test of somebody's may well run it twice
            asyncio.run(scenario(number))
            assert not kochava.relay_alive
            assert not tracking.relay_alive


def test_the_status_is_counted_again_only_when_it_is_old(destination, monkeypatch):
    counted = []
    from kochava_segment.server import status as module

    real = module.outbox_status
    monkeypatch.setattr(module, "outbox_status", lambda box: counted.append(1) or real(box))
    status = CountedStatus(destination.outbox)
    for _ in range(5):
        status.get()
    assert len(counted) == 1
    monkeypatch.setattr(module, "_FRESH_FOR", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0.0)
    status._fresh_until = 0.0
    for _ in range(5):
        status.get()
    assert len(counted) == 6


def test_a_slow_count_is_shared_and_an_error_is_everybody_s():
    calls = []

    def slow():
        calls.append(1)
        time.sleep(0.05)
        if len(calls) > 1:
            raise OSError
        return "found"

    async def scenario():
        shared = OneAtATime(slow)
        assert await asyncio.gather(*(shared.get(5) for _ in range(5))) == ["found"] * 5
        failed = await asyncio.gather(*(shared.get(5) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in failed] == [OSError] * 3

    asyncio.run(scenario())
    assert len(calls) == 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_ask_for_the_head_alone(app, path):
    assert call(app, "HEAD", path).status == 200
