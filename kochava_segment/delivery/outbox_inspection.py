"""What a person sees of an outbox: counts and lists.

Counts are always counted, never kept: what is not stored cannot be wrong.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_file import FAILED, PENDING
from kochava_segment.delivery.outbox_purge import DUPLICATES, MAYBE_REPEATED, REPEATS

STATES = (
    "waiting",
    "in flight",
    "paused",
    "delivered",
    "rejected",
    "exhausted",
    "ambiguous",
    "discarded",
)
"""All states. A request is paused while it waits and Kochava refuses its app's credentials."""

PENDING_STATES = ("waiting", "in flight", "paused")
FAILED_STATES = ("rejected", "exhausted", "ambiguous")
_RATE_OVER = 60.0  # seconds
_AT_ONCE = 500  # requests that are read in one go


@frozen(kw_only=True)
class OutboxStatus:
    """How an outbox stands.

    Attributes:
        states: How many requests are in each state; those without any are left out.
        reasons: The same by (state, reason), where there is a reason.
        duplicates: How often a message came again and was not stored a second time.
        maybe_repeated: How often Kochava may have counted a request once more than it should: attempts
            before the last one whose answer was lost, or whose process died.
        rate: Deliveries a second, over the last minute.
        oldest_age: Seconds since the oldest pending request was put in; None where nothing is pending.
        paused: App GUIDs that are paused, since Kochava refused their credentials.
        used_bytes: How much of the file is used.
        purged: How many requests were forgotten for their age or for room, by (state, reason).
    """

    states: Mapping[str, int]
    reasons: Mapping[tuple[str, str], int]
    duplicates: int
    maybe_repeated: int
    rate: float
    oldest_age: float | None
    paused: tuple[str, ...]
    used_bytes: int
    purged: Mapping[tuple[str, str], int]

    def count(self, *states: str) -> int:
        """How many requests are in these states together."""
        return sum(self.states.get(state, 0) for state in states)

    @property
    def pending(self) -> int:
        """How many requests are still to be sent: waiting, in flight or paused."""
        return self.count(*PENDING_STATES)

    @property
    def time_to_drain(self) -> float | None:
        """Seconds until nothing is pending, at the present rate; None where nothing moves."""
        return self.pending / self.rate if self.rate else None

    @property
    def failed(self) -> int:
        """How many requests wait for a person: rejected, exhausted or ambiguous."""
        return self.count(*FAILED_STATES)


@frozen(kw_only=True)
class OutboxDepth:
    """What of an outbox is not done with: quick to count, however much was delivered.

    Attributes:
        states: How many requests are waiting, in flight, paused, rejected, exhausted, ambiguous.
        oldest_age: Seconds since the oldest pending request was put in; None where nothing is pending.
        paused: App GUIDs that are paused, since Kochava refused their credentials.
        used_bytes: How much of the file is used.
    """

    states: Mapping[str, int]
    oldest_age: float | None
    paused: tuple[str, ...]
    used_bytes: int


@frozen(kw_only=True)
class OutboxEntry:
    """One request in an outbox, for reading.

    Attributes:
        id: Its number.
        message_id: The Segment message's `messageId`, if it has one.
        action: `event`, `install`, `update`, `identity_link` or `deletion`.
        app_guid: The App GUID.
        state: One of `STATES`.
        reason: Why it is in this state, where there is something to say.
        attempts: How many attempts count against the retry policy.
        maybe_sent: How many attempts may have been counted without an answer.
        status: The last answer's HTTP status; None where none came.
        queued_at: Epoch seconds.
        changed_at: Epoch seconds of the last change of state.
        url: Where it goes; None once the body is gone.
        payload: Its body, decoded; None once it is gone.
    """

    id: int
    message_id: str | None
    action: str
    app_guid: str
    state: str
    reason: str | None
    attempts: int
    maybe_sent: int
    status: int | None
    queued_at: float
    changed_at: float
    url: str | None = None
    payload: dict[str, Any] | None = None


@frozen(kw_only=True)
class EntryFilter:
    """Which entries are meant: those to which everything applies that is given.

    Attributes:
        states: Some of `STATES`.
        reason: A part of the reason, ignoring case.
        app_guid: The App GUID.
        message_id: The `messageId`.
        older_than: Seconds since it was queued, at least.
        newer_than: Seconds since it was queued, at most.
        ids: Numbers.
    """

    states: tuple[str, ...] = ()
    reason: str | None = None
    app_guid: str | None = None
    message_id: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    ids: tuple[int, ...] = ()

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL, and its parameters."""
        now = time.time()
        conditions = [
            (f"({' OR '.join(_STATE_CONDITIONS[s] for s in self.states)})", bool(self.states)),
            ("instr(lower(COALESCE(reason, '')), lower(:reason))", self.reason is not None),
            ("guid = :app", self.app_guid is not None),
            ("message_id = :message_id", self.message_id is not None),
            ("queued_at <= :older", self.older_than is not None),
            ("queued_at >= :newer", self.newer_than is not None),
            (f"request.id IN ({','.join(map(str, map(int, self.ids)))})", bool(self.ids)),
        ]
        parameters = {
            "reason": self.reason,
            "app": self.app_guid,
            "message_id": self.message_id,
            "older": now - (self.older_than or 0.0),
            "newer": now - (self.newer_than or 0.0),
        }
        given = [condition for condition, applies in conditions if applies]
        return " AND ".join(given) or "1", parameters


_STATE_CONDITIONS = {
    **{state: f"state = '{state}'" for state in STATES},
    "waiting": "state = 'waiting' AND NOT leased AND paused_at IS NULL",
    "in flight": "state = 'waiting' AND leased",
    "paused": "state = 'waiting' AND NOT leased AND paused_at IS NOT NULL",
}
_SHOWN_STATE = (
    "CASE WHEN state <> 'waiting' THEN state WHEN leased THEN 'in flight' "
    "WHEN paused_at IS NOT NULL THEN 'paused' ELSE state END"
)
FROM = "FROM request JOIN app ON app.id = request.app"
_ENTRY = (
    f"SELECT request.id, message_id, action, guid, {_SHOWN_STATE}, reason, attempts, maybe_sent, "
    "status, queued_at, changed_at"
)


def outbox_status(outbox: Outbox) -> OutboxStatus:
    """Count everything."""
    with outbox.file.reading() as connection:
        states: Counter[str] = Counter()
        reasons: Counter[tuple[str, str]] = Counter()
        duplicates = repeated = lately = 0
        rows = connection.execute(
            f"SELECT {_SHOWN_STATE}, reason, COUNT(*), SUM(duplicates), SUM({REPEATS}), "
            f"SUM(state = 'delivered' AND changed_at > ?) {FROM} GROUP BY 1, 2",
            (time.time() - _RATE_OVER,),
        )
        for state, reason, count, seen_again, repeats, just_now in rows:
            lately += just_now
            states[state] += count
            if reason:
                reasons[state, reason] += count
            duplicates += seen_again
            repeated += repeats
        (oldest,) = connection.execute(
            "SELECT MIN(queued_at) FROM lane JOIN request ON request.id = lane.head"
        ).fetchone()
        paused = connection.execute(
            "SELECT guid FROM app WHERE paused_at IS NOT NULL ORDER BY guid"
        )
        purged = {
            (state, reason): count
            for state, reason, count in connection.execute(
                "SELECT state, reason, count FROM purged ORDER BY state, reason"
            )
        }
        duplicates += purged.pop((DUPLICATES, ""), 0)
        repeated += purged.pop((MAYBE_REPEATED, ""), 0)
        return OutboxStatus(
            states=dict(states),
            reasons=dict(reasons),
            duplicates=duplicates,
            maybe_repeated=repeated,
            rate=lately / _RATE_OVER,
            oldest_age=None if oldest is None else max(0.0, time.time() - oldest),
            paused=tuple(guid for (guid,) in paused),
            used_bytes=outbox.file.used_bytes(connection.cursor()),
            purged=purged,
        )


def outbox_depth(outbox: Outbox) -> OutboxDepth:
    """Count what waits and what has failed, by indexes in which nothing else stands."""
    with outbox.file.reading() as connection:
        paused = connection.execute(
            "SELECT guid, id FROM app WHERE paused_at IS NOT NULL ORDER BY guid"
        ).fetchall()
        pending, first = connection.execute(
            f"SELECT COUNT(*), MIN(id) FROM request INDEXED BY request_pending WHERE {PENDING}"
        ).fetchone()
        (in_flight,) = connection.execute(
            "SELECT COUNT(*) FROM lane JOIN request ON request.lane = lane.lane "
            f"WHERE relay IS NOT NULL AND leased AND {PENDING}"
        ).fetchone()
        held = 0
        for _, app in paused:
            (count,) = connection.execute(
                f"SELECT COUNT(*) FROM request WHERE app = ? AND NOT leased AND {PENDING}",
                (app,),
            ).fetchone()
            held += count
        failed = connection.execute(
            f"SELECT state, COUNT(*) FROM request WHERE {FAILED} GROUP BY state"
        ).fetchall()
        oldest = connection.execute(
            "SELECT queued_at FROM request WHERE id = ?", (first,)
        ).fetchone()
        return OutboxDepth(
            states={
                **dict.fromkeys((*PENDING_STATES, *FAILED_STATES), 0),
                "waiting": pending - in_flight - held,
                "in flight": in_flight,
                "paused": held,
                **dict(failed),
            },
            oldest_age=None if oldest is None else max(0.0, time.time() - oldest[0]),
            paused=tuple(guid for guid, _ in paused),
            used_bytes=outbox.file.used_bytes(connection.cursor()),
        )


def has_pending(outbox: Outbox) -> bool:
    """Whether anything is in flight, or to be sent and not paused. Quick, however much there is."""
    with outbox.file.reading() as connection:
        any_paused = connection.execute("SELECT 1 FROM app WHERE paused_at IS NOT NULL").fetchone()
        query = _OPEN_LANE if any_paused else "SELECT 1 FROM lane LIMIT 1"
        return connection.execute(query).fetchone() is not None


def count_pending(outbox: Outbox) -> int:
    """How many requests are still to be sent, paused ones included; far quicker than the status."""
    with outbox.file.reading() as connection:
        (count,) = connection.execute(f"SELECT COUNT(*) FROM request WHERE {PENDING}").fetchone()
        return int(count)


# In the words of the indexes of lanes, so that a paused app's many lanes are not looked through.
_OPEN_LANE = """
    SELECT 1 WHERE EXISTS (SELECT 1 FROM lane WHERE relay IS NOT NULL)
    OR EXISTS (
        SELECT 1 FROM app WHERE paused_at IS NULL AND (
            EXISTS (SELECT 1 FROM lane WHERE app = app.id AND relay IS NULL AND not_before = 0)
            OR EXISTS (SELECT 1 FROM lane WHERE app = app.id AND relay IS NULL AND not_before > 0)
        )
    )
"""


def entries(
    outbox: Outbox, which: EntryFilter, *, bodies: bool = False, limit: int | None = None
) -> Iterator[OutboxEntry]:
    """The entries that are meant, oldest first.

    Args:
        outbox: The outbox.
        which: Which are meant.
        bodies: Read their bodies as well.
        limit: How many at most.
    """
    where, parameters = which.where()
    after, left = 0, limit
    while left is None or left > 0:
        # In portions, so that a slow reader does not keep the file from being tidied up.
        with outbox.file.reading() as connection:
            page = _AT_ONCE if left is None else min(left, _AT_ONCE)
            found = connection.execute(
                f"{_ENTRY} {FROM} WHERE request.id > :after AND ({where}) ORDER BY request.id LIMIT :page",
                {**parameters, "after": after, "page": page},
            ).fetchall()
            shown = [_entry(row, connection if bodies else None) for row in found]
        yield from shown
        if len(found) < page:
            return
        after, left = found[-1][0], None if left is None else left - len(found)


def _entry(row: Any, connection: sqlite3.Connection | None) -> OutboxEntry:
    body = None
    if connection is not None:
        body = connection.execute("SELECT url, body FROM body WHERE id = ?", (row[0],)).fetchone()
    names = (
        "id message_id action app_guid state reason attempts maybe_sent status queued_at changed_at"
    )
    return OutboxEntry(
        **dict(zip(names.split(), row, strict=True)),
        url=body and body[0],
        payload=body and json.loads(body[1]),
    )
