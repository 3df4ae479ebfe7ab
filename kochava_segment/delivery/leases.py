"""Who sends what of an outbox: relays lease lanes, and write down what became of them.

A relay leases whole lanes, so that a device's requests keep their order across threads and
processes, and a device that fails holds up no other. Waiting and leases are measured on the monotonic
clock, which the processes of a machine share and nobody can turn. All functions are part of a
transaction that is already under way.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from attrs import frozen

from kochava_segment.delivery.outbox_file import PENDING
from kochava_segment.log_events import APP_RESUMED, app_in_brief
from kochava_segment.request import KochavaRequest

LONGEST_WAIT = 3600.0
"""Seconds; longer waits are cut. A time further away than this was written before a reboot."""

_READY_AT_ONCE = 2_000  # lanes that come out of their back-off in one transaction
_RELAY_DIED = "the process that was sending it died; it may have been counted"


@frozen(kw_only=True)
class LeasedRequest:
    """A request that a relay has leased.

    Attributes:
        id: Its number in the outbox.
        request: The request as it was put in, without secret headers.
        attempts: How many attempts so far count against the policy.
        waited: Seconds that it has waited between attempts so far.
        maybe_sent: How many attempts so far may have been counted without an answer.
        token_expires_at: Epoch seconds at which its AdServices token is too old for Apple.
    """

    id: int
    request: KochavaRequest
    attempts: int
    waited: float
    maybe_sent: int
    token_expires_at: float | None


@frozen(kw_only=True)
class LeasedLane:
    """Requests of one device, in the order in which they must be sent."""

    lane: int
    app_guid: str
    requests: tuple[LeasedRequest, ...]


@frozen(kw_only=True)
class Settled:
    """What became of a leased request: its new state, and what a person may want to know."""

    id: int
    state: str
    attempts: int
    waited: float = 0.0
    maybe_sent: int = 0
    status: int | None = None
    reason: str | None = None


@frozen(kw_only=True)
class LaneResult:
    """What became of a leased lane.

    Attributes:
        lane: The lane.
        settled: What became of the requests that were attempted.
        unsent: The ids of those that were not.
        wait: Seconds for which the lane is left alone.
    """

    lane: LeasedLane
    settled: tuple[Settled, ...] = ()
    unsent: tuple[int, ...] = ()
    wait: float = 0.0


def register(cursor: sqlite3.Cursor, name: str, lease: float) -> int:
    """Announce a relay that will renew its lease within `lease` seconds; gives its number."""
    cursor.execute(
        "INSERT INTO relay (name, lease, lease_until) VALUES (?, ?, ?)",
        (name, lease, time.monotonic() + lease),
    )
    return int(cursor.lastrowid or 0)


def renew(cursor: sqlite3.Cursor, relay: int, lease: float) -> bool:
    """Prolong a lease; False if it has run out and others have taken the lanes."""
    until = time.monotonic() + lease
    cursor.execute("UPDATE relay SET lease_until = ? WHERE id = ?", (until, relay))
    return cursor.rowcount == 1


def leave(cursor: sqlite3.Cursor, relay: int) -> None:
    """Take a relay's name off, and what it still holds back to the others."""
    _take_back(cursor, relay, give_up=())


def recover(
    cursor: sqlite3.Cursor, relay: int, *, give_up: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """Take back what relays that no longer renew their leases had leased.

    It may have been sent: it is sent again, or becomes ambiguous where its action is one of
    `give_up`.

    Returns:
        The names of these relays, and how many requests each had in flight.
    """
    now = time.monotonic()
    # A lease that ends later than it is long was written before a reboot.
    dead = cursor.execute(
        "SELECT id, name FROM relay WHERE id <> ? AND (lease_until < ? OR lease_until > ? + lease)",
        (relay, now, now),
    ).fetchall()
    return [(name, _take_back(cursor, number, give_up=give_up)) for number, name in dead]


def lease(
    cursor: sqlite3.Cursor,
    relay: int,
    *,
    requests: int,
    per_lane: int,
    credentials: bytes | None = None,
    without: Collection[str] = (),
) -> list[LeasedLane]:
    """Lease lanes that are ready, installs first, then the oldest; paused apps are left alone.

    Args:
        cursor: Of the transaction.
        relay: Who leases.
        requests: How many requests at most.
        per_lane: How many of one lane at most.
        credentials: A digest of the relay's. Apps for which these were refused are left alone,
            also while others' are good.
        without: App GUIDs that are left alone.
    """
    now = {"now": time.monotonic(), "longest": LONGEST_WAIT, "limit": _READY_AT_ONCE}
    for condition in _DUE:
        cursor.execute(_READY_AGAIN.format(condition), now)
    apps = [
        (app, guid)
        for app, guid in cursor.execute(_OPEN_APPS, {**now, "credentials": credentials}).fetchall()
        if guid not in without
    ]
    random.shuffle(apps)  # none is always the last
    leased: list[LeasedLane] = []
    for place, (app, guid) in enumerate(apps):
        share = -(-requests // (len(apps) - place))  # what one app leaves is for the next
        lanes = cursor.execute(_READY_LANES, (app, share)).fetchall()
        installs = sum(rank == 0 for _, rank in lanes)
        for lane, rank in lanes:
            if share <= 0:
                break
            # Other devices' installs go before what follows the install of this one.
            most = 1 if rank == 0 and installs > 1 else min(per_lane, share)
            rows = cursor.execute(_WAITING_IN_LANE, (lane, most)).fetchall()
            if not rows:
                cursor.execute("DELETE FROM lane WHERE lane = ?", (lane,))
                continue
            in_lane = tuple(_leased(row, lane) for row in rows)
            leased.append(LeasedLane(lane=lane, app_guid=guid, requests=in_lane))
            share -= len(rows)
            requests -= len(rows)
    cursor.executemany(
        "UPDATE lane SET relay = ? WHERE lane = ?", [(relay, one.lane) for one in leased]
    )
    cursor.executemany(
        "UPDATE request SET leased = 1 WHERE id = ?",
        [(request.id,) for one in leased for request in one.requests],
    )
    return leased


def settle(cursor: sqlite3.Cursor, relay: int, results: Iterable[LaneResult]) -> int:
    """Write down what became of leased lanes, and give them back.

    Returns:
        How many requests somebody else had delivered meanwhile, since the lease had run out: they
        were sent twice.
    """
    now = time.time()
    held = {lane for (lane,) in cursor.execute("SELECT lane FROM lane WHERE relay = ?", (relay,))}
    delivered, others, unsent, released, lost = [], [], [], [], []
    for result in results:
        lane, ours = result.lane.lane, result.lane.lane in held
        for settled in result.settled:
            # What was delivered is so, whoever holds the lane by now and whatever they think.
            if settled.state == "delivered":
                delivered.append(_values_of(settled, lane, now))
            elif ours:
                others.append(_values_of(settled, lane, now))
        if ours:
            unsent += [(number,) for number in result.unsent]
            released.append((lane, result.wait))
        else:
            lost.append(lane)
    cursor.executemany(_SETTLE_DELIVERED, delivered)
    repeated = len(delivered) - cursor.rowcount if delivered else 0
    cursor.executemany(_REMOVE_BODY, delivered)
    cursor.executemany(_SETTLE, others)
    cursor.executemany("UPDATE request SET leased = 0 WHERE id = ?", unsent)
    release_lanes(cursor, released)
    for lane in lost:
        refresh_lane(cursor, lane)
    return repeated


def slow_down(cursor: sqlite3.Cursor, app_guid: str, seconds: float) -> None:
    """Let no relay lease lanes of an app for some seconds, or for longer if so it was already."""
    now = time.monotonic()
    cursor.execute(
        "UPDATE app SET not_before = :until "
        "WHERE guid = :guid AND NOT (not_before > :until AND not_before <= :latest)",
        {
            "until": now + min(seconds, LONGEST_WAIT),
            "guid": app_guid,
            "latest": now + LONGEST_WAIT,
        },
    )


def pause(cursor: sqlite3.Cursor, app_guid: str, credentials: bytes) -> None:
    """Let no relay lease lanes of an app until somebody has mended its credentials."""
    cursor.execute(
        "UPDATE app SET paused_at = ?, paused_credentials = ? WHERE guid = ?",
        (time.time(), credentials, app_guid),
    )


def resume_with(
    cursor: sqlite3.Cursor, credentials: bytes, refused: Collection[str] = ()
) -> list[str]:
    """Go on with apps that were paused because of other credentials.

    Args:
        cursor: Of the transaction.
        credentials: A digest of those that a relay has.
        refused: App GUIDs for which Kochava has refused these, also if others were refused since.

    Returns:
        The App GUIDs that are paused still.
    """
    rows = cursor.execute(
        "SELECT guid, paused_credentials FROM app WHERE paused_at IS NOT NULL ORDER BY guid"
    ).fetchall()
    paused = []
    for guid, paused_credentials in rows:
        if paused_credentials == credentials or guid in refused:
            paused.append(guid)
        else:
            cursor.execute("UPDATE app SET paused_at = NULL WHERE guid = ?", (guid,))
            APP_RESUMED.log(app=app_in_brief(guid), reason="there are other credentials")
    return paused


def resumed_by_hand(cursor: sqlite3.Cursor, app_guid: str) -> bool:
    """Whether a person has said that an app's credentials are right."""
    row = cursor.execute(
        "SELECT paused_credentials FROM app WHERE guid = ?", (app_guid,)
    ).fetchone()
    return row is not None and row[0] is None


def refresh_lane(cursor: sqlite3.Cursor, lane: int) -> None:
    """See to it that a lane that nobody has leased names its first request; keeps its back-off."""
    row = cursor.execute("SELECT relay, not_before FROM lane WHERE lane = ?", (lane,)).fetchone()
    if row is not None and row[0] is None:
        release_lanes(cursor, [(lane, max(0.0, row[1] - time.monotonic()))])


def release_lanes(cursor: sqlite3.Cursor, lanes: Iterable[tuple[int, float]]) -> None:
    """Give lanes back, each to be leased again in so many seconds; take those away that are empty."""
    now = time.monotonic()
    values = [
        {"lane": lane, "not_before": now + min(wait, LONGEST_WAIT) if wait else 0.0}
        for lane, wait in lanes
    ]
    cursor.executemany(_REMOVE_EMPTY_LANE, values)
    if cursor.rowcount < len(values):
        cursor.executemany(_RELEASE_LANE, values)


def _take_back(cursor: sqlite3.Cursor, relay: int, *, give_up: Sequence[str]) -> int:
    held = cursor.execute("SELECT lane FROM lane WHERE relay = ?", (relay,)).fetchall()
    now, count = time.time(), 0
    for (lane,) in held:
        in_flight = cursor.execute(
            f"SELECT id, action FROM request WHERE lane = ? AND leased AND {PENDING}",
            (lane,),
        ).fetchall()
        for number, action in in_flight:
            state = "ambiguous" if action in give_up else "waiting"
            cursor.execute(_TAKE_BACK, (state, now, _RELAY_DIED, number))
        count += len(in_flight)
    release_lanes(cursor, ((lane, 0.0) for (lane,) in held))
    cursor.execute("DELETE FROM relay WHERE id = ?", (relay,))
    return count


def _values_of(settled: Settled, lane: int, now: float) -> dict[str, Any]:
    return {
        "id": settled.id,
        "lane": lane,
        "state": settled.state,
        "now": now,
        "attempts": settled.attempts,
        "waited": settled.waited,
        "maybe_sent": settled.maybe_sent,
        "status": settled.status,
        "reason": settled.reason,
    }


def _leased(row: Sequence[Any], lane: int) -> LeasedRequest:
    number, message_id, action, attempts, waited, maybe_sent, expires, url, headers, body = row
    return LeasedRequest(
        id=number,
        request=KochavaRequest(
            url=url,
            headers=json.loads(headers) if headers else {},
            body=body,
            ordering_key=str(lane),
            action=action,
            message_id=message_id,
        ),
        attempts=attempts,
        waited=waited,
        maybe_sent=maybe_sent,
        token_expires_at=expires,
    )


# Two conditions, since an index does not help with both at once.
_DUE = ("not_before > 0 AND not_before <= :now", "not_before > :now + :longest")
_READY_AGAIN = """
    UPDATE lane SET not_before = 0 WHERE lane IN (
        SELECT lane FROM lane WHERE relay IS NULL AND not_before > 0 AND {} LIMIT :limit
    )
"""
_OPEN_APPS = """
    SELECT id, guid FROM app
    WHERE paused_at IS NULL AND (not_before <= :now OR not_before > :now + :longest)
      AND (paused_credentials IS NULL OR paused_credentials IS NOT :credentials)
      AND EXISTS (SELECT 1 FROM lane WHERE app = app.id AND relay IS NULL AND not_before = 0)
"""
_READY_LANES = """
    SELECT lane, rank FROM lane WHERE app = ? AND relay IS NULL AND not_before = 0
    ORDER BY rank, head LIMIT ?
"""
_WAITING_IN_LANE = f"""
    SELECT request.id, message_id, action, attempts, waited, maybe_sent, token_expires_at,
           url, headers, body.body
    FROM request JOIN body ON body.id = request.id
    WHERE lane = ? AND {PENDING} ORDER BY rank, request.id LIMIT ?
"""
_TAKE_BACK = """
    UPDATE request SET state = ?, leased = 0, changed_at = ?, reason = ?, maybe_sent = maybe_sent + 1
    WHERE id = ?
"""
_SETTLE_AS = """
    UPDATE request SET state = :state, leased = 0, changed_at = :now,
                       attempts = :attempts, waited = :waited, status = :status, reason = :reason,
                       maybe_sent = MAX(maybe_sent, :maybe_sent)
    WHERE id = :id AND lane = :lane
"""
_SETTLE_DELIVERED = f"{_SETTLE_AS} AND state <> 'delivered'"
_SETTLE = f"{_SETTLE_AS} AND {PENDING}"
_REMOVE_BODY = """
    DELETE FROM body WHERE id = :id AND
        EXISTS (SELECT 1 FROM request WHERE id = :id AND lane = :lane AND state = 'delivered')
"""
_REMOVE_EMPTY_LANE = f"""
    DELETE FROM lane WHERE lane = :lane AND NOT EXISTS
        (SELECT 1 FROM request WHERE lane = :lane AND {PENDING})
"""
_RELEASE_LANE = f"""
    UPDATE lane SET relay = NULL, not_before = :not_before, (head, rank) =
        (SELECT id, rank FROM request WHERE lane = :lane AND {PENDING} ORDER BY rank, id LIMIT 1)
    WHERE lane = :lane
"""
