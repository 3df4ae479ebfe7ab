"""What a person sees of an outbox, and does with it."""

import json
import sqlite3
import time
from contextlib import closing

import pytest

from kochava_segment.delivery import leases
from kochava_segment.delivery import outbox_inspection as module
from kochava_segment.delivery.outbox import Outbox, hash_of
from kochava_segment.delivery.outbox_changes import discard, discard_user, retry
from kochava_segment.delivery.outbox_inspection import (
    EntryFilter,
    count_pending,
    entries,
    has_pending,
    outbox_status,
)
from kochava_segment.delivery.outbox_salvage import salvage
from tests.delivery.outboxes import (
    answered,
    assert_consistent,
    lease,
    names,
    put,
    register,
    rows,
    settle,
    states,
)


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    yield box
    assert_consistent(box)
    box.close()


def _fail(box, name, state="rejected", device="d1", **details):
    """Put a request in and let it fail; gives the relay."""
    put(box, name, device=device)
    relay = register(box)
    settle(box, relay, *(answered(lane, state, **details) for lane in lease(box, relay)))
    return relay


def _ids(box, **which):
    return [entry.message_id for entry in entries(box, EntryFilter(**which))]


def test_an_empty_outbox_has_nothing_to_tell(box):
    status = outbox_status(box)
    assert (status.states, status.reasons, status.purged, status.paused) == ({}, {}, {}, ())
    assert (status.pending, status.failed, status.rate) == (0, 0, 0.0)
    assert (status.oldest_age, status.time_to_drain) == (None, None)
    assert not has_pending(box)
    assert count_pending(box) == 0


def test_the_status_counts_by_state_and_reason(box):
    _fail(box, "m-1", reason="Kochava answered 400")
    _fail(box, "m-2", reason="Kochava answered 400")
    _fail(box, "m-3", "ambiguous", reason="the answer was lost")
    _fail(box, "m-4", "delivered", maybe_sent=1)
    put(box, "m-5", device="d5")
    put(box, "m-5", "m-1", device="d5")
    lease(box, register(box))
    put(box, "m-6", device="d6")
    status = outbox_status(box)
    assert status.states == {
        "rejected": 2, "ambiguous": 1, "delivered": 1, "in flight": 1, "waiting": 1,
    }  # fmt: skip
    assert status.reasons == {
        ("rejected", "Kochava answered 400"): 2,
        ("ambiguous", "the answer was lost"): 1,
    }
    assert (status.pending, status.failed) == (2, 3)
    assert count_pending(box) == 2
    assert (status.duplicates, status.maybe_repeated) == (2, 1)
    assert status.used_bytes > 0


def test_rate_age_and_time_to_drain(box):
    for number in range(3):
        _fail(box, f"m-{number}", "delivered")
    put(box, "m-8", "m-9")
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET queued_at = queued_at - 100 WHERE message_id = 'm-8'")
        cursor.execute("UPDATE request SET changed_at = changed_at - 61 WHERE message_id = 'm-0'")
    status = outbox_status(box)
    assert status.rate == pytest.approx(2 / 60)
    assert status.oldest_age == pytest.approx(100, abs=5)
    assert status.time_to_drain == pytest.approx(60)


def test_an_age_is_never_negative(box):
    put(box, "m-1")
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET queued_at = queued_at + 1000")
    assert outbox_status(box).oldest_age == 0.0


def test_what_waits_for_a_paused_app_is_paused(box):
    put(box, "a-1", app="koa")
    put(box, "b-1", app="kob")
    with box.file.writing() as cursor:
        leases.pause(cursor, "koa", b"bad")
    status = outbox_status(box)
    assert status.states == {"paused": 1, "waiting": 1}
    assert status.paused == ("koa",)
    assert status.pending == 2
    assert _ids(box, states=("paused",)) == ["a-1"]
    assert _ids(box, states=("waiting",)) == ["b-1"]


@pytest.mark.parametrize("condition", ["ready", "leased", "backing off"])
def test_beside_a_paused_app_whatever_is_pending_of_others_is_seen(box, condition):
    put(box, "a-1", app="koa")
    with box.file.writing() as cursor:
        leases.pause(cursor, "koa", b"bad")
    assert not has_pending(box)
    put(box, "b-1", app="kob")
    relay = register(box)
    if condition != "ready":
        (lane,) = lease(box, relay)
    if condition == "backing off":
        settle(box, relay, answered(lane, "waiting", wait=100))
    assert has_pending(box)


def test_what_is_in_flight_of_a_paused_app_is_still_to_be_settled(box):
    put(box, "m-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    with box.file.writing() as cursor:
        leases.pause(cursor, "koapp", b"bad")
    assert has_pending(box)
    settle(box, relay, answered(lane))
    assert not has_pending(box)


# Lists.


def test_entries_are_found_by_each_filter(box):
    _fail(box, "m-1", reason="Kochava answered 400", status=400)
    put(box, "m-2", app="koother")
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET queued_at = queued_at - 3600 WHERE id = 1")
    assert _ids(box) == ["m-1", "m-2"]
    assert _ids(box, states=("rejected", "delivered")) == ["m-1"]
    assert _ids(box, reason="ANSWERED") == ["m-1"]
    assert _ids(box, app_guid="koother") == ["m-2"]
    assert _ids(box, message_id="m-2") == ["m-2"]
    assert _ids(box, older_than=1800) == ["m-1"]
    assert _ids(box, newer_than=1800) == ["m-2"]
    assert _ids(box, ids=(2, 7)) == ["m-2"]
    assert _ids(box, ids=(2,), app_guid="koapp") == [], "everything that is given applies"


def test_an_entry_says_everything(box):
    _fail(box, "m-1", reason="Kochava answered 400", status=400, maybe_sent=1)
    (entry,) = entries(box, EntryFilter(), bodies=True)
    assert (entry.id, entry.message_id, entry.action, entry.app_guid) == (
        1,
        "m-1",
        "event",
        "koapp",
    )
    assert (entry.state, entry.reason, entry.status) == ("rejected", "Kochava answered 400", 400)
    assert (entry.attempts, entry.maybe_sent) == (1, 1)
    assert entry.payload == {"number": "m-1"}
    assert entry.url.endswith("/track/json")
    assert 0 <= time.time() - entry.changed_at < 30


def test_what_was_delivered_has_no_body_any_more(box):
    _fail(box, "m-1", "delivered")
    (entry,) = entries(box, EntryFilter(), bodies=True)
    assert (entry.payload, entry.url) == (None, None)


@pytest.mark.parametrize("limit", [None, 1, 2, 3, 5, 7])
def test_long_lists_are_read_in_portions(box, monkeypatch, limit):
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    put(box, *(f"m-{number}" for number in range(5)))
    found = [entry.message_id for entry in entries(box, EntryFilter(), limit=limit)]
    assert found == [f"m-{number}" for number in range(5)][:limit]


# Trying again.


@pytest.mark.parametrize("state", ["rejected", "exhausted", "ambiguous"])
def test_a_failed_request_is_sent_again_from_the_beginning(box, state):
    relay = _fail(box, "m-1", state, waited=100.0, maybe_sent=1)
    assert not has_pending(box)
    assert retry(box, EntryFilter(ids=(1,))) == 1
    assert has_pending(box)
    (lane,) = lease(box, relay)
    (again,) = lane.requests
    assert (again.attempts, again.waited, again.maybe_sent) == (0, 0.0, 1)


def test_only_what_failed_or_waits_is_sent_again(box):
    _fail(box, "m-1", "delivered")
    put(box, "m-2", device="d2")
    lease(box, register(box))
    assert retry(box, EntryFilter()) == 0
    assert states(box) == {"m-1": "delivered", "m-2": "in flight"}


def test_what_backs_off_is_sent_at_once(box):
    put(box, "m-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, "waiting", wait=600))
    assert lease(box, relay) == []
    assert retry(box, EntryFilter(states=("waiting",))) == 1
    assert names(lease(box, relay)) == [["m-1"]]


def test_a_failed_install_that_is_tried_again_goes_before_what_waits(box):
    put(box, "i-1", action="install")
    relay = register(box)
    settle(box, relay, *(answered(lane, "rejected") for lane in lease(box, relay)))
    put(box, "e-1")
    retry(box, EntryFilter(ids=(1,)))
    assert_consistent(box)
    assert names(lease(box, relay)) == [["i-1", "e-1"]]


def test_older_failed_ones_go_in_their_old_place(box):
    relay = _fail(box, "m-1")
    put(box, "m-2")
    retry(box, EntryFilter(ids=(1,)))
    assert_consistent(box)
    assert names(lease(box, relay)) == [["m-1", "m-2"]]


def test_trying_again_does_not_disturb_who_has_leased_the_device(box):
    relay = _fail(box, "m-1")
    put(box, "m-2")
    (lane,) = lease(box, relay)
    retry(box, EntryFilter(ids=(1,)))
    assert lease(box, register(box)) == []
    settle(box, relay, answered(lane, "delivered"))
    assert names(lease(box, relay)) == [["m-1"]]


# Giving up.


def test_discarded_ones_stay_counted_and_lose_their_bodies(box):
    _fail(box, "m-1", reason="Kochava answered 400")
    put(box, "m-2")
    assert discard(box, EntryFilter()) == 2
    status = outbox_status(box)
    assert status.states == {"discarded": 2}
    assert status.reasons == {("discarded", "discarded by hand"): 2}
    assert rows(box, "SELECT * FROM body") == []
    assert not has_pending(box)
    assert put(box, "m-1") == [False], "it is known still"


def test_what_is_in_flight_or_delivered_is_not_discarded(box):
    _fail(box, "m-1", "delivered")
    put(box, "m-2", device="d2")
    lease(box, register(box))
    assert discard(box, EntryFilter()) == 0


def test_what_follows_a_discarded_one_keeps_its_back_off(box):
    put(box, "m-1", "m-2")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, "waiting", wait=600))
    discard(box, EntryFilter(ids=(1,)))
    assert lease(box, relay) == []
    assert has_pending(box)


def _discard_user(box, user_id, *keys):
    with box.file.writing() as cursor:
        return discard_user(cursor, user_id, keys, "forgotten")


def test_a_users_undelivered_requests_are_discarded_and_no_others(box):
    put(box, "mine", user_id="u-1")
    put(box, "theirs", user_id="u-2")
    put(box, "nobodys", "another")
    put(box, "elsewhere", device="d2")
    put(box, "deletion", action="deletion", user_id="u-1")
    assert _discard_user(box, "u-1", "koapp/d1") == 3
    gone = {name for name, state in states(box).items() if state == "discarded"}
    assert gone == {"mine", "nobodys", "another"}


def test_what_of_a_user_is_in_flight_is_not_sent_again(box):
    put(box, "m-1", "m-2", "m-3", user_id="u-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    assert _discard_user(box, "u-1") == 3
    repeated = settle(box, relay, answered(lane, "delivered", "waiting", wait=1))
    assert repeated == 0
    assert states(box) == {"m-1": "delivered", "m-2": "discarded", "m-3": "discarded"}
    assert not has_pending(box)


def test_users_are_stored_as_hashes(box):
    put(box, "m-1", user_id="mallory@example.com")
    assert rows(box, "SELECT user FROM request") == [(hash_of("mallory@example.com"),)]
    box.close()
    assert b"mallory" not in box.file.path.read_bytes()


# Salvage.


def _filled(tmp_path, count=2000):
    box = Outbox(tmp_path / "outbox.sqlite3")
    put(
        box, *(f"m-{number}" for number in range(count)), body=json.dumps({"x": "y" * 200}).encode()
    )
    box.close()
    return box.file.path


def _salvaged(path):
    *found, last = salvage(path)
    return found, last["unreadable"]


def test_all_of_a_sound_file_is_salvaged(tmp_path):
    found, unreadable = _salvaged(_filled(tmp_path, 600))
    assert unreadable == 0
    assert [entry["message_id"] for entry in found] == [f"m-{number}" for number in range(600)]
    assert found[0] == {
        "id": 1,
        "url": "https://control.kochava.com/track/json",
        "payload": {"x": "y" * 200},
        "state": "waiting",
        "action": "event",
        "message_id": "m-0",
    }


def _pages(path, table):
    """The numbers of the pages of a table."""
    with closing(sqlite3.connect(path)) as plain:
        (size,) = plain.execute("PRAGMA page_size").fetchone()
        try:
            query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
            return size, [page for (page,) in plain.execute(query, (table,))]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite cannot tell the pages of a table")


def _spoil(path, size, *pages, with_=b"\xff"):
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(with_ * size)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_what_lies_on_other_pages_than_the_damaged_one_is_salvaged(tmp_path, place):
    path = _filled(tmp_path)
    size, pages = _pages(path, "body")
    _spoil(path, size, pages[place])
    found, unreadable = _salvaged(path)
    assert len(found) > 1900
    assert unreadable > 0
    assert len({entry["id"] for entry in found}) == len(found)


def test_bodies_are_salvaged_without_their_states(tmp_path):
    path = _filled(tmp_path)
    size, pages = _pages(path, "request")
    _spoil(path, size, *pages)
    found, _ = _salvaged(path)
    assert len(found) == 2000
    assert {entry["state"] for entry in found} == {None}


def test_a_file_that_is_none_gives_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    assert _salvaged(path) == ([], 0)


def test_bodies_that_are_no_json_any_more_are_counted(tmp_path):
    path = _filled(tmp_path, 10)
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("UPDATE body SET body = '{' WHERE id = 3")
        plain.execute("UPDATE body SET body = 7.5, url = CAST(x'ff' AS TEXT) WHERE id = 4")
        plain.commit()
    found, unreadable = _salvaged(path)
    assert [entry["id"] for entry in found] == [1, 2, 5, 6, 7, 8, 9, 10]
    assert unreadable == 2


def test_numbers_that_go_far_apart_are_passed_over_quickly(tmp_path):
    path = _filled(tmp_path, 2)
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("UPDATE body SET id = 1000000000000 WHERE id = 2")
        plain.commit()
    began = time.monotonic()
    found, _ = _salvaged(path)
    assert [entry["id"] for entry in found] == [1, 10**12]
    assert time.monotonic() - began < 5


def test_a_file_whose_ends_cannot_be_read_is_salvaged_up_to_there(tmp_path):
    path = _filled(tmp_path)
    for table in ("body", "request"):
        size, pages = _pages(path, table)
        _spoil(path, size, pages[-1])
    found, unreadable = _salvaged(path)
    assert len(found) > 1900
    assert unreadable > 0


def test_a_file_that_cannot_be_read_from_the_beginning_on_gives_what_follows(tmp_path):
    path = _filled(tmp_path)
    size, pages = _pages(path, "body")
    _spoil(path, size, *pages[:40])
    found, unreadable = _salvaged(path)
    assert found
    assert found[0]["id"] > 500
    assert found[-1]["id"] == 2000
    assert len(found) + unreadable == 2000
