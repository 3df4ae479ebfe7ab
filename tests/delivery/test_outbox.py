"""The queue itself: what is stored, leased, settled, taken back, forgotten, refused."""

import json
import re
import sqlite3
import threading
import time
from contextlib import ExitStack, closing

import pytest

from kochava_segment.delivery import leases, outbox_changes, outbox_inspection
from kochava_segment.delivery import outbox as module
from kochava_segment.delivery.outbox import NewEntry, Outbox, OutboxSettings
from kochava_segment.delivery.outbox_purge import purge
from kochava_segment.errors import OutboxFull
from tests.delivery.outboxes import (
    answered,
    assert_consistent,
    lease,
    names,
    put,
    register,
    request,
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


class _Clock:
    """Clocks that stand still until they are turned."""

    def __init__(self, monkeypatch):
        self.monotonic_now, self.now = 1_000_000.0, 1_800_000_000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.monotonic_now)
        monkeypatch.setattr(module.time, "time", lambda: self.now)

    def pass_(self, seconds):
        self.monotonic_now += seconds
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return _Clock(monkeypatch)


# What is stored.


def test_what_is_leased_is_what_was_put_in(box):
    original = request("m-1", headers={"User-Agent": "Unknown"}, body='{"ü":1}'.encode())
    box.put([NewEntry(request=original)])
    (lane,) = lease(box, register(box))
    leased = lane.requests[0].request
    assert lane.app_guid == "koapp"
    assert (leased.body, leased.url, leased.action) == (original.body, original.url, "event")
    assert (leased.headers, leased.message_id) == ({"User-Agent": "Unknown"}, "m-1")


def test_secret_headers_are_not_stored(box):
    secrets = {
        "Kochava-Api-Key": "secret-1",
        "kochava-auth-token": "secret-2",
        "Authentication-Key": "secret-3",
        "User-Agent": "Unknown",
    }
    box.put([NewEntry(request=request("m-1", headers=secrets))])
    stored = rows(box, "SELECT headers FROM body")[0][0]
    assert json.loads(stored) == {"User-Agent": "Unknown"}


def test_a_group_is_stored_whole_or_not_at_all(box):
    def fail(_cursor):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        box.put([NewEntry(request=request("m-1"))], also=fail)
    put(box, "m-2")
    assert states(box) == {"m-2": "waiting"}


def test_an_app_that_was_rolled_back_is_stored_with_the_next_message(box):
    def store_and_fail():
        with box.file.writing() as cursor:
            box.put_in(cursor, [NewEntry(request=request("m-1"))])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        store_and_fail()
    put(box, "m-2")
    assert names(lease(box, register(box))) == [["m-2"]]


# Duplicates.


def test_a_message_id_is_stored_once_for_each_action_and_app(box):
    assert put(box, "m-1", "m-1") == [True, False]
    assert put(box, "m-1", action="install") == [True]
    assert put(box, "m-1", app="koother") == [True]
    assert put(box, "m-1", device="d2") == [False], "the device does not make it another message"
    assert outbox_inspection.outbox_status(box).duplicates == 2


def test_one_message_for_several_devices_is_stored_once_for_each(box):
    def links(*devices):
        entries = [
            NewEntry(request=request("m-1", device, "identity_link"), per_device=True)
            for device in devices
        ]
        return box.put(entries)

    assert links("d1", "d2") == [True, True]
    assert links("d2", "d3") == [False, True]


def test_messages_without_a_message_id_are_never_duplicates(box):
    assert put(box, None, None) == [True, True]


@pytest.mark.parametrize("state", ["delivered", "rejected", "exhausted", "ambiguous"])
def test_what_is_over_is_remembered_for_the_window_and_no_longer(box, clock, state):
    put(box, "m-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, state))
    clock.pass_(24 * 3600 - 1)
    assert put(box, "m-1") == [False]
    clock.pass_(2)
    assert put(box, "m-1") == [True]
    assert put(box, "m-1") == [False], "the new one is remembered in turn"


def test_what_is_not_over_is_remembered_however_long_it_takes(box, clock):
    put(box, "m-1")
    clock.pass_(100 * 24 * 3600)
    assert put(box, "m-1") == [False]


# Order.


def test_a_device_keeps_its_order_and_its_install_goes_first(box):
    put(box, "e-1", "e-2")
    put(box, "i-1", action="install")
    put(box, "e-3")
    assert names(lease(box, register(box))) == [["i-1", "e-1", "e-2", "e-3"]]


def test_installs_of_all_devices_go_before_the_events_of_others(box):
    put(box, "e-1", device="d1")
    put(box, "i-2", device="d2", action="install")
    assert names(lease(box, register(box))) == [["i-2"], ["e-1"]]


def test_devices_take_turns_oldest_first(box):
    for number in range(4):
        put(box, f"m-{number}", device=f"d{number}")
    relay = register(box)
    assert names(lease(box, relay, requests=2)) == [["m-0"], ["m-1"]]
    assert names(lease(box, relay, requests=9)) == [["m-2"], ["m-3"]]


def test_a_leased_device_is_nobody_elses(box):
    put(box, "m-1", "m-2")
    first, second = register(box), register(box)
    assert names(lease(box, first, per_lane=1)) == [["m-1"]]
    put(box, "m-3")
    assert lease(box, first) == []
    assert lease(box, second) == []


def test_what_was_not_attempted_goes_on_after_what_has_to_be_repeated(box, clock):
    put(box, "m-1", "m-2", "m-3")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, "delivered", "waiting", wait=5.0))
    assert states(box) == {"m-1": "delivered", "m-2": "waiting", "m-3": "waiting"}
    clock.pass_(4.9)
    assert lease(box, relay) == []
    clock.pass_(0.2)
    assert names(lease(box, relay)) == [["m-2", "m-3"]]


def test_a_device_that_backs_off_holds_up_no_other(box):
    put(box, "m-1", device="d1")
    put(box, "m-2", device="d2")
    relay = register(box)
    bad, good = lease(box, relay)
    settle(box, relay, answered(bad, "waiting", wait=600), answered(good, "delivered"))
    put(box, "m-3", device="d2")
    assert names(lease(box, relay)) == [["m-3"]]


def test_an_install_that_comes_during_a_back_off_goes_first_after_it(box, clock):
    put(box, "e-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, "waiting", wait=5.0))
    put(box, "i-1", action="install")
    clock.pass_(6)
    assert names(lease(box, relay)) == [["i-1", "e-1"]]


def test_apps_share_what_is_leased_and_none_wastes_its_share(box):
    for number in range(20):
        put(box, f"a-{number}", device=f"d{number}", app="koa")
    put(box, "b-1", device="d1", app="kob")
    leased = lease(box, register(box), requests=10)
    by_app = [lane.app_guid for lane in leased]
    assert "kob" in by_app
    assert by_app.count("koa") >= 5


def test_a_thousand_idle_apps_take_nothing_of_what_is_leased(box):
    for number in range(50):
        put(box, f"i-{number}", app=f"ko{number}")
    relay = register(box)
    settle(box, relay, *(answered(lane, "delivered") for lane in lease(box, relay)))
    for number in range(20):
        put(box, f"m-{number}", device=f"d{number}", app="ko7")
    assert len(lease(box, relay, requests=20)) == 20


def test_very_many_devices_that_are_due_at_once_come_back_in_portions(box, clock, monkeypatch):
    monkeypatch.setattr(leases, "_READY_AT_ONCE", 3)
    for number in range(5):
        put(box, f"m-{number}", device=f"d{number}")
    relay = register(box)
    settle(box, relay, *(answered(lane, "waiting", wait=1.0) for lane in lease(box, relay)))
    clock.pass_(2)
    assert len(lease(box, relay)) == 3
    assert len(lease(box, relay)) == 2


# Clocks.


def test_times_from_before_a_reboot_do_not_hold_anything_up(box, clock):
    put(box, "m-1", "m-2")
    relay = register(box)
    (lane,) = lease(box, relay, per_lane=1)
    settle(box, relay, answered(lane, "waiting", wait=600))
    with box.file.writing() as cursor:
        leases.slow_down(cursor, "koapp", 600)
    clock.monotonic_now = 5.0
    assert names(lease(box, register(box))) == [["m-1", "m-2"]]


def test_a_lease_from_before_a_reboot_has_run_out(box, clock):
    put(box, "m-1")
    lease(box, register(box, "old"))
    clock.monotonic_now = 5.0
    relay = register(box)
    with box.file.writing() as cursor:
        assert leases.recover(cursor, relay) == [("old", 1)]


def test_the_calendar_turned_back_or_on_changes_no_waiting(box, clock):
    put(box, "m-1")
    relay = register(box)
    (lane,) = lease(box, relay)
    settle(box, relay, answered(lane, "waiting", wait=5.0))
    clock.now += 10 * 365 * 24 * 3600
    assert lease(box, relay) == []
    clock.now -= 20 * 365 * 24 * 3600
    assert lease(box, relay) == []
    clock.monotonic_now += 6
    assert names(lease(box, relay)) == [["m-1"]]


# Relays that die, and those that only seemed to.


def _two_relays(box, clock):
    """A relay that stood still with m-1 in hand, and another that took it back."""
    put(box, "m-1", "m-2")
    stalled, other = register(box, "stalled"), register(box, "other", lease=1000)
    (lane,) = lease(box, stalled, per_lane=1)
    clock.pass_(11)
    with box.file.writing() as cursor:
        assert leases.recover(cursor, other) == [("stalled", 1)]
    return stalled, other, lane


def test_what_a_dead_relay_had_is_sent_again_in_order_and_counted(box, clock):
    _, other, _ = _two_relays(box, clock)
    (again,) = lease(box, other)
    assert names([again]) == [["m-1", "m-2"]]
    assert again.requests[0].maybe_sent == 1
    assert again.requests[1].maybe_sent == 0


def test_a_living_relay_keeps_what_it_renews(box, clock):
    put(box, "m-1")
    relay, other = register(box), register(box)
    lease(box, relay)
    clock.pass_(6)
    with box.file.writing() as cursor:
        assert leases.renew(cursor, relay, 10)
        clock.pass_(6)
        assert leases.recover(cursor, other) == []


def test_a_relay_whose_lease_was_taken_is_told_so(box, clock):
    stalled, _, _ = _two_relays(box, clock)
    with box.file.writing() as cursor:
        assert not leases.renew(cursor, stalled, 10)


def test_a_late_acceptance_is_one_and_is_not_sent_again(box, clock):
    stalled, other, lane = _two_relays(box, clock)
    assert settle(box, stalled, answered(lane, "delivered")) == 0
    assert_consistent(box)
    assert names(lease(box, other)) == [["m-2"]]


def test_a_late_acceptance_of_what_is_sent_again_is_counted_as_twice(box, clock):
    stalled, other, lane = _two_relays(box, clock)
    (again,) = lease(box, other)
    assert settle(box, stalled, answered(lane, "delivered")) == 0
    assert settle(box, other, answered(again, "delivered", "delivered")) == 1
    assert outbox_inspection.outbox_status(box).maybe_repeated == 1
    assert states(box) == {"m-1": "delivered", "m-2": "delivered"}


def test_a_late_acceptance_settles_what_was_given_up_as_ambiguous(box, clock):
    put(box, "m-1")
    stalled, other = register(box), register(box, lease=1000)
    (lane,) = lease(box, stalled)
    clock.pass_(11)
    with box.file.writing() as cursor:
        leases.recover(cursor, other, give_up=["event"])
    assert states(box) == {"m-1": "ambiguous"}
    assert settle(box, stalled, answered(lane, "delivered")) == 0
    assert states(box) == {"m-1": "delivered"}


def test_any_other_late_answer_is_nobodys(box, clock):
    stalled, other, lane = _two_relays(box, clock)
    settle(box, stalled, answered(lane, "rejected"))
    assert states(box)["m-1"] == "waiting"
    assert names(lease(box, other)) == [["m-1", "m-2"]]


def test_a_late_answer_never_touches_another_device(box, clock):
    stalled, _, lane = _two_relays(box, clock)
    with box.file.writing() as cursor:  # as if the number had been given to another device's
        cursor.execute("UPDATE request SET lane = lane + 1 WHERE id = 1")
        cursor.execute("INSERT INTO lane SELECT lane, app, rank, id, 0, NULL FROM request LIMIT 1")
    settle(box, stalled, answered(lane, "delivered"))
    assert states(box)["m-1"] == "waiting"


def test_only_given_up_actions_become_ambiguous(box, clock):
    put(box, "e-1", device="d1")
    put(box, "i-1", device="d2", action="install")
    lease(box, register(box))
    clock.pass_(11)
    relay = register(box)
    with box.file.writing() as cursor:
        leases.recover(cursor, relay, give_up=["event"])
    assert states(box) == {"e-1": "ambiguous", "i-1": "waiting"}


def test_a_relay_that_leaves_gives_its_lanes_back(box):
    put(box, "m-1")
    relay = register(box)
    lease(box, relay)
    with box.file.writing() as cursor:
        leases.leave(cursor, relay)
    assert names(lease(box, register(box))) == [["m-1"]]


# 429 and refused credentials.


def test_a_429_slows_the_whole_app_and_no_other(box, clock):
    put(box, "a-1", device="d1", app="koa")
    put(box, "b-1", device="d1", app="kob")
    relay = register(box)
    with box.file.writing() as cursor:
        leases.slow_down(cursor, "koa", 30)
    assert names(lease(box, relay)) == [["b-1"]]
    clock.pass_(31)
    assert names(lease(box, relay)) == [["a-1"]]


def test_a_shorter_429_does_not_shorten_a_longer_one(box, clock):
    put(box, "m-1")
    with box.file.writing() as cursor:
        leases.slow_down(cursor, "koapp", 30)
        leases.slow_down(cursor, "koapp", 1)
    clock.pass_(10)
    assert lease(box, register(box)) == []
    clock.pass_(21)
    assert lease(box, register(box)) != []


def _paused(box, credentials=b"bad"):
    put(box, "m-1")
    with box.file.writing() as cursor:
        leases.pause(cursor, "koapp", credentials)


def _resume(box, credentials, refused=()):
    with box.file.writing() as cursor:
        return leases.resume_with(cursor, credentials, refused)


def test_refused_credentials_pause_the_app_until_there_are_others(box):
    _paused(box)
    relay = register(box)
    assert _resume(box, b"bad") == ["koapp"]
    assert lease(box, relay) == []
    assert not outbox_inspection.has_pending(box)
    assert _resume(box, b"good") == []
    assert outbox_inspection.has_pending(box)
    assert lease(box, relay, credentials=b"bad") == [], "those were refused, others are good"
    assert names(lease(box, relay, credentials=b"good")) == [["m-1"]]


def test_two_processes_with_refused_credentials_do_not_wake_each_other(box):
    _paused(box, b"bad-1")
    _resume(box, b"bad-2")
    with box.file.writing() as cursor:
        leases.pause(cursor, "koapp", b"bad-2")
    assert _resume(box, b"bad-1", refused={"koapp"}) == ["koapp"]


def test_a_person_resumes_for_all(box):
    _paused(box)
    with box.file.writing() as cursor:
        assert not leases.resumed_by_hand(cursor, "koapp")
    outbox_changes.retry(box, outbox_inspection.EntryFilter(states=("paused",)))
    with box.file.writing() as cursor:
        assert leases.resumed_by_hand(cursor, "koapp")
    assert names(lease(box, register(box), credentials=b"bad")) == [["m-1"]]


def test_apps_can_be_left_alone(box):
    put(box, "m-1")
    assert lease(box, register(box), without={"koapp"}) == []


# Size and age.


def _deliver_all(box):
    relay = register(box, lease=1e6)
    while lanes := lease(box, relay, requests=10_000, per_lane=10_000):
        settle(box, relay, *(answered(lane, *["delivered"] * 10_000) for lane in lanes))


@pytest.fixture
def full(tmp_path):
    """Fills an outbox; gives it, and the number of the message that it did not take."""
    with ExitStack() as opened:

        def fill(when_full, **settings):
            options = OutboxSettings(when_full=when_full, max_size=250_000, **settings)
            box = opened.enter_context(closing(Outbox(tmp_path / "full", options)))
            number = 0
            try:
                while number < 1000:
                    number += 1
                    put(box, f"m-{number}", body=b"x" * 3000)
            except OutboxFull:
                return box, number
            raise AssertionError("it is never full")

        yield fill


def test_a_full_outbox_refuses_with_advice_and_loses_nothing(full):
    box, number = full("refuse")
    with pytest.raises(OutboxFull, match=r"has reached its size of 250000 bytes: let a relay"):
        put(box, "one-more")
    assert number > 20
    assert len(states(box)) == number - 1
    assert_consistent(box)


def test_refuse_keeps_what_was_delivered(full):
    box, _ = full("refuse")
    before = states(box)
    _deliver_all(box)
    put(box, "one-more")  # the bodies are gone, so that there is room
    assert set(before) < set(states(box))


def test_drop_delivered_forgets_the_oldest_ones_first_and_counts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_DROPPED_AT_ONCE", 50)
    settings = OutboxSettings(when_full="drop_delivered", max_size=200_000)
    box = Outbox(tmp_path / "full", settings)
    for number in range(40):
        box.put([NewEntry(request=request(f"m-{number}-{index}")) for index in range(200)])
        _deliver_all(box)
    status = outbox_inspection.outbox_status(box)
    dropped = status.purged["delivered", ""]
    assert dropped > 1000
    assert dropped + status.states["delivered"] == 8000
    box.close()
    left = [number for (number,) in rows(box, "SELECT id FROM request ORDER BY id")]
    assert left == list(range(dropped + 1, 8001)), "the oldest go first"


def test_drop_delivered_drops_nothing_else(full):
    box, number = full("drop_delivered")
    assert len(states(box)) == number - 1


def test_a_full_outbox_is_not_searched_for_each_message(full):
    box, _ = full("drop_delivered")
    seen = []
    with box.file.writing() as cursor:
        cursor.connection.set_trace_callback(seen.append)
    with pytest.raises(OutboxFull):
        put(box, "again")
    assert not [query for query in seen if query.startswith("SELECT id, state")]


def test_delivered_ones_behind_many_others_are_found(full, monkeypatch):
    monkeypatch.setattr(module, "_LOOKED_AT_ONCE", 5)
    box, _ = full("drop_delivered")
    with box.file.writing() as cursor:
        cursor.execute("UPDATE request SET state = 'delivered' WHERE id IN (31, 32, 33)")
        cursor.execute("DELETE FROM body WHERE id IN (31, 32, 33)")
        box._nothing_to_drop_until = 0.0
        assert box._drop_delivered(cursor)
        box._dropped_up_to = 50
        cursor.execute("UPDATE request SET state = 'delivered' WHERE id = 7")
        assert box._drop_delivered(cursor), "also those before the place where it stopped last"
    assert {"m-7", "m-31", "m-33"}.isdisjoint(states(box))


def test_block_waits_for_room(full, monkeypatch):
    monkeypatch.setattr(module, "_BLOCKED_FOR", 0.1)
    box, _ = full("block")
    monkeypatch.setattr(module, "_BLOCKED_FOR", 30.0)
    timer = threading.Timer(0.3, _deliver_all, [box])
    timer.start()
    began = time.monotonic()
    assert put(box, "one-more") == [True]
    assert 0.2 < time.monotonic() - began < 10
    timer.join()


def test_no_limit_is_none(tmp_path):
    box = Outbox(tmp_path / "endless", OutboxSettings(max_size=None, when_full="refuse"))
    assert put(box, "m-1", body=b"x" * 1_000_000) == [True]
    box.close()


def _purge(box):
    after, passes = 0, 0
    while after is not None:
        with box.file.writing() as cursor:
            after = box.purge_old(cursor, after, limit=2)
        passes += 1
    return passes


def test_retention_forgets_what_is_old_enough_and_counts_it(box, clock):
    for number, state in enumerate(["delivered", "rejected", "waiting", "ambiguous", "delivered"]):
        put(box, f"{state}-{number}", device=f"d{number}")
    relay = register(box, lease=1e9)
    for lane in lease(box, relay):
        state = lane.requests[0].request.message_id.partition("-")[0]
        settle(box, relay, answered(lane, state, reason="because" if state == "rejected" else None))
    clock.pass_(24 * 3600 + 1)
    put(box, "new")
    assert _purge(box) == 3
    assert set(states(box)) == {"rejected-1", "waiting-2", "ambiguous-3", "new"}
    clock.pass_(30 * 24 * 3600)
    _purge(box)
    assert set(states(box)) == {"waiting-2", "new"}
    purged = outbox_inspection.outbox_status(box).purged
    assert purged == {("delivered", ""): 2, ("rejected", "because"): 1, ("ambiguous", ""): 1}


def test_purging_stops_at_what_is_new(box, clock):
    put(box, *(f"m-{number}" for number in range(10)))
    assert _purge(box) == 1
    clock.now -= 1000  # queued at times that are still to come: a clock was wrong
    assert _purge(box) == 6


def test_what_is_purged_leaves_its_duplicates_and_repetitions_counted(box, clock):
    put(box, "m-1")
    put(box, "m-1")
    relay = register(box, lease=1e9)
    settle(box, relay, *(answered(lane, "delivered", maybe_sent=1) for lane in lease(box, relay)))
    put(box, "m-2")
    clock.pass_(2 * 24 * 3600)
    _purge(box)
    status = outbox_inspection.outbox_status(box)
    assert (status.duplicates, status.maybe_repeated) == (1, 1)
    assert status.purged == {("delivered", ""): 1}


def test_a_number_is_never_given_twice(box):
    put(box, "m-1", "m-2")
    _deliver_all(box)
    with box.file.writing() as cursor:
        assert purge(cursor, [(1,), (2,)]) == 1
    put(box, "m-3")
    assert rows(box, "SELECT id FROM request ORDER BY id") == [(2,), (3,)]


# AdServices tokens.


def test_the_age_of_an_ad_services_token_counts_from_the_install(box, clock):
    body = {"data": {"usertime": int(clock.now) - 3600}, "ad_services_token": "x"}
    put(box, "i-1", action="install", body=json.dumps(body).encode())
    put(box, "i-2", action="install")
    first, second = lease(box, register(box))[0].requests
    assert first.token_expires_at == int(clock.now) - 3600 + 24 * 3600
    assert second.token_expires_at is None


# Queries.


_SMALL = ("SCAN app", "SCAN CONSTANT ROW")


def _queries():
    """The queries that run all the time, from the code itself."""
    source = {**vars(module), **vars(leases)}
    hot = ("_OPEN_APPS", "_READY_LANES", "_WAITING_IN_LANE", "_TAKE_BACK", "_SETTLE")
    hot += ("_SETTLE_DELIVERED", "_REMOVE_BODY", "_FORGET", "_COUNT_DUPLICATE")
    hot += ("_REMOVE_EMPTY_LANE", "_RELEASE_LANE")
    yield from (source[name] for name in hot)
    yield from (source["_READY_AGAIN"].format(condition) for condition in leases._DUE)
    yield outbox_inspection._OPEN_LANE
    yield "SELECT lane FROM lane WHERE relay = ?"


@pytest.mark.parametrize("query", tuple(_queries()))
def test_no_query_that_runs_all_the_time_looks_through_a_table(box, query):
    put(box, "m-1")
    named = set(re.findall(r":(\w+)", query))
    parameters = dict.fromkeys(named, 1) if named else [1] * query.count("?")
    with closing(sqlite3.connect(box.file.path)) as plain:
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    scans = [step for step in plan if step.startswith("SCAN") and step not in _SMALL]
    assert scans == []
    assert plan
