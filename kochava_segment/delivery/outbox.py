"""The durable queue: what was put into it is sent, or ends up where a person can read it.

Requests of one device form a lane. A relay leases whole lanes, so that a device's requests keep their
order across threads and processes, and a device that fails holds up no other. Waiting and leases are
measured on the monotonic clock, which the processes of a machine share and nobody can turn; only what
people read is in epoch seconds.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from kochava_segment.delivery.outbox_file import PENDING, Durability, OutboxFile
from kochava_segment.delivery.signing import SECRET_HEADERS
from kochava_segment.errors import OutboxFull
from kochava_segment.log_events import (
    APP_RESUMED,
    OUTBOX_FORGETS_EARLY,
    OUTBOX_FULL,
    OUTBOX_HAS_ROOM,
    app_in_brief,
)
from kochava_segment.request import KochavaRequest

WhenFull = Literal["drop_delivered", "refuse", "block"]

LONGEST_WAIT = 3600.0
"""Seconds; longer waits are cut. A time further away than this was written before a reboot."""

_SECRET_HEADERS = frozenset(name.casefold() for name in SECRET_HEADERS)
_AD_SERVICES_TOKEN_LIVES = 24 * 3600.0  # seconds; Apple's rule
_BLOCKED_FOR = 60.0  # seconds that when_full="block" waits for room
_DROPPED_AT_ONCE = 1_000
_LOOKED_AT_ONCE = 5_000  # requests, for delivered ones that can be dropped
_FRUITLESS_FOR = 1.0  # seconds that a full outbox without delivered ones is not searched again
_TELL_EVERY = 3600.0  # seconds between records of the same
_READY_AT_ONCE = 2_000  # lanes that come out of their back-off in one transaction


@frozen(kw_only=True)
class OutboxSettings:
    """How an outbox keeps what it is given.

    Attributes:
        durability: "normal" survives the death of the process; "full" also a power cut, for a sync of
            the disk at each commit.
        dedup_window: Seconds for which a delivered or failed message is remembered, so that the same
            messageId is not sent again. Segment itself retries for 4 hours.
        retention: Seconds for which failed messages are kept for a person to look at.
        max_size: Bytes that the file may use; None for no limit.
        when_full: "drop_delivered" forgets the oldest delivered ones early and then refuses, "refuse"
            raises OutboxFull at once, "block" waits up to a minute for room first.
    """

    durability: Durability = "normal"
    dedup_window: float = 24 * 3600.0
    retention: float = 30 * 24 * 3600.0
    max_size: int | None = 4 * 2**30
    when_full: WhenFull = "drop_delivered"


@frozen(kw_only=True)
class NewEntry:
    """A request to be put into an outbox.

    Attributes:
        request: The request. Secret headers are not stored: the relay signs.
        user_id: The userId of its message, of which a hash is kept.
        per_device: Its message gives one request for each of several devices, so that messageId,
            action and app do not tell them apart.
    """

    request: KochavaRequest
    user_id: str | None = None
    per_device: bool = False


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


class Outbox:
    """One outbox, shared by all threads of a process; other processes may use the same file.

    Args:
        path: Its file. It is made where it does not exist, when it is first used.
        settings: How it keeps what it is given.
    """

    def __init__(self, path: str | Path, settings: OutboxSettings | None = None) -> None:
        self.settings: OutboxSettings = settings or OutboxSettings()
        self.file: OutboxFile = OutboxFile(path, self.settings.durability)
        self._apps: dict[str, int] = {}
        self._dropped_up_to = 0
        self._nothing_to_drop_until = 0.0
        self._is_full = False  # as far as the log was told
        self._told_of_dropping = -math.inf

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    # Writers.

    def put(
        self,
        entries: Sequence[NewEntry],
        also: Callable[[sqlite3.Cursor], None] | None = None,
    ) -> list[bool]:
        """Store requests, all of them or none. They are durable when this returns.

        Args:
            entries: The requests.
            also: Writes something more in the same transaction.

        Returns:
            For each, whether it is new: False where the outbox knows its messageId already.

        Raises:
            OutboxFull: if there is no room, and `when_full` does not make any.
            OutboxUnavailable: if the file cannot be written.
            OutboxUnusable: if it is damaged or no outbox.
        """
        blocked_until = time.monotonic() + _BLOCKED_FOR
        while True:
            with self.file.writing() as cursor:
                if self._has_room(cursor):
                    if self._is_full:
                        self._is_full = False
                        OUTBOX_HAS_ROOM.log()
                    if also is not None:
                        also(cursor)
                    return self.put_in(cursor, entries)
            if self.settings.when_full != "block" or time.monotonic() > blocked_until:
                if not self._is_full:
                    self._is_full = True
                    OUTBOX_FULL.log()
                raise OutboxFull(
                    f"{self.file.path} has reached its size of {self.settings.max_size} bytes: let a "
                    "relay drain it, discard what failed, or raise max_size"
                )
            time.sleep(0.05)

    def _has_room(self, cursor: sqlite3.Cursor) -> bool:
        limit = self.settings.max_size
        while limit is not None and self.file.used_bytes(cursor) > limit:
            if self.settings.when_full != "drop_delivered" or not self._drop_delivered(cursor):
                return False
        return True

    def _drop_delivered(self, cursor: sqlite3.Cursor) -> bool:
        """Forget some of the oldest delivered ones; False where there are none.

        Going on where it stopped, so that a full outbox is not searched anew for each message.
        """
        if time.monotonic() < self._nothing_to_drop_until:
            return False
        whole_round = self._dropped_up_to == 0
        while True:
            looked_at = cursor.execute(
                "SELECT id, state FROM request WHERE id > ? ORDER BY id LIMIT ?",
                (self._dropped_up_to, _LOOKED_AT_ONCE),
            ).fetchall()
            delivered = [(number,) for number, state in looked_at if state == "delivered"]
            dropped = delivered[:_DROPPED_AT_ONCE]
            if dropped and purge(cursor, dropped):
                self._dropped_up_to = dropped[-1][0]
                self._tell_of_dropping()
                return True
            if looked_at:
                self._dropped_up_to = looked_at[-1][0]
            elif whole_round:
                self._dropped_up_to = 0
                self._nothing_to_drop_until = time.monotonic() + _FRUITLESS_FOR
                return False
            else:
                self._dropped_up_to, whole_round = 0, True

    def _tell_of_dropping(self) -> None:
        now = time.monotonic()
        if now - self._told_of_dropping > _TELL_EVERY:
            self._told_of_dropping = now
            OUTBOX_FORGETS_EARLY.log()

    def put_in(self, cursor: sqlite3.Cursor, entries: Iterable[NewEntry]) -> list[bool]:
        """Store requests in a transaction that is already under way, whatever room there is."""
        now = time.time()
        return [self._insert_one(cursor, entry, now) for entry in entries]

    def _insert_one(self, cursor: sqlite3.Cursor, entry: NewEntry, now: float) -> bool:
        request = entry.request
        guid = app_of(request)
        app = self._apps.get(guid) or self._app(cursor, guid)
        lane = hash_of(request.ordering_key)
        rank = int(request.action != "install")
        fingerprint = _fingerprint(entry, guid)
        values = (
            fingerprint,
            request.message_id,
            request.action,
            app,
            lane,
            rank,
            None if entry.user_id is None else hash_of(entry.user_id),
            now,
            now,
            _token_expiry(request, now),
        )
        cursor.execute(_INSERT_REQUEST, values)
        if cursor.rowcount == 0:
            # The window is looked at here alone: where there is no conflict it does not matter.
            cursor.execute(_FORGET, (fingerprint, now - self.settings.dedup_window))
            if cursor.rowcount == 0:
                cursor.execute(_COUNT_DUPLICATE, (fingerprint,))
                return False
            cursor.execute(_INSERT_REQUEST, values)
        number = cursor.lastrowid
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.casefold() not in _SECRET_HEADERS
        }
        cursor.execute(
            "INSERT INTO body (id, url, headers, body) VALUES (?, ?, ?, ?)",
            (number, request.url, json.dumps(headers) if headers else "", request.body),
        )
        cursor.execute(ENTER_LANE, (lane, app, rank, number))
        return True

    def _app(self, cursor: sqlite3.Cursor, guid: str) -> int:
        cursor.execute("INSERT OR IGNORE INTO app (guid) VALUES (?)", (guid,))
        known = cursor.rowcount == 0
        (number,) = cursor.execute("SELECT id FROM app WHERE guid = ?", (guid,)).fetchone()
        if known:  # a new one may yet be rolled back
            self._apps[guid] = number
        return int(number)

    # Relays. Each of these is part of a transaction of theirs.

    def register(self, cursor: sqlite3.Cursor, name: str, lease: float) -> int:
        """Announce a relay that will renew its lease within `lease` seconds; gives its number."""
        cursor.execute(
            "INSERT INTO relay (name, lease, lease_until) VALUES (?, ?, ?)",
            (name, lease, time.monotonic() + lease),
        )
        return int(cursor.lastrowid or 0)

    def renew(self, cursor: sqlite3.Cursor, relay: int, lease: float) -> bool:
        """Prolong a lease; False if it has run out and others have taken the lanes."""
        until = time.monotonic() + lease
        cursor.execute("UPDATE relay SET lease_until = ? WHERE id = ?", (until, relay))
        return cursor.rowcount == 1

    def leave(self, cursor: sqlite3.Cursor, relay: int) -> None:
        """Take a relay's name off, and what it still holds back to the others."""
        self._take_back(cursor, relay, give_up=())

    def recover(
        self, cursor: sqlite3.Cursor, relay: int, *, give_up: Sequence[str] = ()
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
            "SELECT id, name FROM relay WHERE id <> ? AND "
            "(lease_until < ? OR lease_until > ? + lease)",
            (relay, now, now),
        ).fetchall()
        return [(name, self._take_back(cursor, number, give_up=give_up)) for number, name in dead]

    def _take_back(self, cursor: sqlite3.Cursor, relay: int, *, give_up: Sequence[str]) -> int:
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

    def lease(
        self,
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
            for app, guid in cursor.execute(
                _OPEN_APPS, {**now, "credentials": credentials}
            ).fetchall()
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

    def settle(self, cursor: sqlite3.Cursor, relay: int, results: Iterable[LaneResult]) -> int:
        """Write down what became of leased lanes, and give them back.

        Returns:
            How many requests somebody else had delivered meanwhile, since the lease had run out: they
            were sent twice.
        """
        now = time.time()
        held = {
            lane for (lane,) in cursor.execute("SELECT lane FROM lane WHERE relay = ?", (relay,))
        }
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

    def slow_down(self, cursor: sqlite3.Cursor, app_guid: str, seconds: float) -> None:
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

    def pause(self, cursor: sqlite3.Cursor, app_guid: str, credentials: bytes) -> None:
        """Let no relay lease lanes of an app until somebody has mended its credentials."""
        cursor.execute(
            "UPDATE app SET paused_at = ?, paused_credentials = ? WHERE guid = ?",
            (time.time(), credentials, app_guid),
        )

    def resume_with(
        self, cursor: sqlite3.Cursor, credentials: bytes, refused: Collection[str] = ()
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

    def resumed_by_hand(self, cursor: sqlite3.Cursor, app_guid: str) -> bool:
        """Whether a person has said that an app's credentials are right."""
        row = cursor.execute(
            "SELECT paused_credentials FROM app WHERE guid = ?", (app_guid,)
        ).fetchone()
        return row is not None and row[0] is None

    def purge_old(self, cursor: sqlite3.Cursor, after: int, limit: int = 2_000) -> int | None:
        """Forget some of what was kept long enough: delivered for the window, failed for longer.

        Args:
            cursor: Of the transaction.
            after: The number that the call before gave, 0 to begin.
            limit: How many requests to look at.

        Returns:
            Where to go on, None where there is nothing more to be found.
        """
        now = time.time()
        delivered_before = now - self.settings.dedup_window
        failed_before = now - self.settings.retention
        rows = cursor.execute(
            "SELECT id, state, changed_at, queued_at FROM request WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
        ).fetchall()
        purge(
            cursor,
            [
                (number,)
                for number, state, changed_at, _ in rows
                if state != "waiting"
                and changed_at < (delivered_before if state == "delivered" else failed_before)
            ],
        )
        # Numbers follow the time of queueing, and nothing changes before it is queued.
        # A time to come is one of a clock that was wrong, and says nothing.
        newest = rows[-1] if len(rows) == limit else None
        if newest is None or delivered_before < newest[3] <= now:
            return None
        return int(newest[0])


_RELAY_DIED = "the process that was sending it died; it may have been counted"

_INSERT_REQUEST = """
    INSERT INTO request (fingerprint, message_id, action, app, lane, rank, state, user,
                         queued_at, changed_at, token_expires_at)
    VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, ?, ?, ?)
    ON CONFLICT (fingerprint) DO NOTHING
"""
_FORGET = f"""
    UPDATE request SET fingerprint = NULL
    WHERE fingerprint = ? AND NOT {PENDING} AND changed_at < ?
"""
_COUNT_DUPLICATE = "UPDATE request SET duplicates = duplicates + 1 WHERE fingerprint = ?"

ENTER_LANE = """
    INSERT INTO lane (lane, app, rank, head) VALUES (?, ?, ?, ?)
    ON CONFLICT (lane) DO UPDATE SET rank = excluded.rank, head = excluded.head
    WHERE (excluded.rank, excluded.head) < (lane.rank, lane.head)
"""
"""Puts a request in its lane; an install before all else. Takes lane, app, rank and number."""

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


DUPLICATES, MAYBE_REPEATED = "duplicates", "maybe repeated"
"""What is counted of purged requests beside their states."""

REPEATS = """
    CASE state WHEN 'delivered' THEN maybe_sent WHEN 'ambiguous' THEN MAX(maybe_sent - 1, 0) ELSE 0 END
"""
"""How often a request may have been counted beyond the once that was wanted."""

_COUNTED_WHEN_PURGED = {
    "SELECT state, COALESCE(reason, ''), 1": "1",
    f"SELECT '{DUPLICATES}', '', duplicates": "duplicates > 0",
    f"SELECT '{MAYBE_REPEATED}', '', {REPEATS}": f"{REPEATS} > 0",
}


def refresh_lane(cursor: sqlite3.Cursor, lane: int) -> None:
    """See to it that a lane that nobody has leased names its first request; keeps its back-off."""
    row = cursor.execute("SELECT relay, not_before FROM lane WHERE lane = ?", (lane,)).fetchone()
    if row is not None and row[0] is None:
        release_lanes(cursor, [(lane, max(0.0, row[1] - time.monotonic()))])


def purge(cursor: sqlite3.Cursor, numbers: Sequence[tuple[int]]) -> int:
    """Delete requests for good, and count them by state and reason; gives how many there were.

    The newest is spared: its number must not be given again.
    """
    newest = cursor.execute("SELECT MAX(id) FROM request").fetchone()
    numbers = [number for number in numbers if number != newest]
    for (number,) in numbers:
        for counted, condition in _COUNTED_WHEN_PURGED.items():
            cursor.execute(
                f"INSERT INTO purged {counted} FROM request WHERE id = ? AND {condition} "
                "ON CONFLICT (state, reason) DO UPDATE SET count = count + excluded.count",
                (number,),
            )
    cursor.executemany("DELETE FROM body WHERE id = ?", numbers)
    cursor.executemany("DELETE FROM request WHERE id = ?", numbers)
    return len(numbers)


def app_of(request: KochavaRequest) -> str:
    """The App GUID that a request is for."""
    return request.ordering_key.partition("/")[0]


def hash_of(text: str) -> int:
    """A hash that SQLite can keep in an integer."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _fingerprint(entry: NewEntry, app_guid: str) -> bytes | None:
    request = entry.request
    if request.message_id is None:
        return None
    parts = [request.action, app_guid, request.message_id]
    if entry.per_device:
        parts.append(request.ordering_key)
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _token_expiry(request: KochavaRequest, now: float) -> float | None:
    if request.action != "install" or b'"ad_services_token"' not in request.body:
        return None
    made_at = request.payload["data"].get("usertime", now)
    return float(min(made_at, now) + _AD_SERVICES_TOKEN_LIVES)


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
