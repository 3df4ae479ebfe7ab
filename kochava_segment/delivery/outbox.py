"""The durable queue: what was put into it is sent, or ends up where a person can read it.

This is where requests are put in; `leases` is how they get out. Requests of one device form a lane.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast

from attrs import frozen

from kochava_segment.delivery.outbox_file import PENDING, Durability, OutboxFile
from kochava_segment.delivery.outbox_purge import purge, purge_old
from kochava_segment.delivery.signing import SECRET_HEADERS
from kochava_segment.errors import OutboxFull
from kochava_segment.log_events import (
    OUTBOX_FORGETS_EARLY,
    OUTBOX_FULL,
    OUTBOX_HAS_ROOM,
    Throttle,
)
from kochava_segment.request import KochavaRequest

WhenFull = Literal["drop_delivered", "refuse", "block"]

_SECRET_HEADERS = frozenset(name.casefold() for name in SECRET_HEADERS)
_AD_SERVICES_TOKEN_LIVES = 24 * 3600.0  # seconds; Apple's rule
_BLOCKED_FOR = 60.0  # seconds that when_full="block" waits for room
_DROPPED_AT_ONCE = 1_000
_LOOKED_AT_ONCE = 5_000  # requests, for delivered ones that can be dropped
_FRUITLESS_FOR = 1.0  # seconds that a full outbox without delivered ones is not searched again
_TOLD_EVERY = 3600.0  # seconds between records of forgetting early


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
        self._forgets_early = Throttle(_TOLD_EVERY)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

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
                if self._forgets_early.take(OUTBOX_FORGETS_EARLY):
                    OUTBOX_FORGETS_EARLY.log()
                return True
            if looked_at:
                self._dropped_up_to = looked_at[-1][0]
            elif whole_round:
                self._dropped_up_to = 0
                self._nothing_to_drop_until = time.monotonic() + _FRUITLESS_FOR
                return False
            else:
                self._dropped_up_to, whole_round = 0, True

    def put_in(self, cursor: sqlite3.Cursor, entries: Sequence[NewEntry]) -> list[bool]:
        """Store requests in a transaction that is already under way, whatever room there is."""
        now = time.time()
        places = [self._insert(cursor, entry, now) for entry in entries]
        stored = [
            (place, entry.request)
            for place, entry in zip(places, entries, strict=True)
            if place is not None
        ]
        cursor.executemany(
            "INSERT INTO body (id, url, headers, body) VALUES (?, ?, ?, ?)",
            [
                (number, request.url, _headers_of(request), request.body)
                for (*_, number), request in stored
            ],
        )
        cursor.executemany(ENTER_LANE, [place for place, _ in stored])
        return [place is not None for place in places]

    def _insert(
        self, cursor: sqlite3.Cursor, entry: NewEntry, now: float
    ) -> tuple[int, int, int, int] | None:
        """Note a request; gives its lane, app, rank and number, None where it is known already."""
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
                return None
            cursor.execute(_INSERT_REQUEST, values)
        return lane, app, rank, cast("int", cursor.lastrowid)

    def _app(self, cursor: sqlite3.Cursor, guid: str) -> int:
        cursor.execute("INSERT OR IGNORE INTO app (guid) VALUES (?)", (guid,))
        known = cursor.rowcount == 0
        (number,) = cursor.execute("SELECT id FROM app WHERE guid = ?", (guid,)).fetchone()
        if known:  # a new one may yet be rolled back
            self._apps[guid] = number
        return int(number)

    def purge_old(self, cursor: sqlite3.Cursor, after: int, limit: int = 2_000) -> int | None:
        """Forget some of what was kept long enough: `outbox_purge.purge_old`, as the settings say."""
        kept = self.settings
        return purge_old(
            cursor,
            after,
            dedup_window=kept.dedup_window,
            retention=kept.retention,
            limit=limit,
        )


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


def app_of(request: KochavaRequest) -> str:
    """The App GUID that a request is for."""
    return request.ordering_key.partition("/")[0]


def hash_of(text: str) -> int:
    """A hash that SQLite can keep in an integer."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _headers_of(request: KochavaRequest) -> str:
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.casefold() not in _SECRET_HEADERS
    }
    return json.dumps(headers) if headers else ""


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
