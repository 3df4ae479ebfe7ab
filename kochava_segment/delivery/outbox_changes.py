"""What a person does with an outbox: try again, give up, have a user forgotten."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from kochava_segment.delivery.leases import refresh_lane
from kochava_segment.delivery.outbox import ENTER_LANE, Outbox, hash_of
from kochava_segment.delivery.outbox_file import FAILED, PENDING
from kochava_segment.delivery.outbox_inspection import FROM, EntryFilter


def retry(outbox: Outbox, which: EntryFilter) -> int:
    """Send failed entries again, those that back off at once, and resume paused apps.

    Returns:
        How many requests will be sent now.
    """
    where, parameters = which.where()
    with outbox.file.writing() as cursor:
        rows = cursor.execute(
            f"SELECT request.id, lane, request.app, rank, state, paused_at {FROM} "
            f"WHERE ({where}) AND ({PENDING} AND NOT leased OR {FAILED}) ORDER BY rank, request.id",
            parameters,
        ).fetchall()
        for number, lane, app, rank, state, paused_at in rows:
            if state != "waiting":
                cursor.execute(_RETRY, (time.time(), number))
                cursor.execute(ENTER_LANE, (lane, app, rank, number))
            elif paused_at is not None:
                cursor.execute(_RESUME, (app,))
            cursor.execute("UPDATE lane SET not_before = 0 WHERE lane = ?", (lane,))
        return len(rows)


# Without any credentials that were refused, all relays try again: a person says theirs are right.
_RESUME = "UPDATE app SET paused_at = NULL, paused_credentials = NULL WHERE id = ?"
_RETRY = """
    UPDATE request SET state = 'waiting', attempts = 0, waited = 0, changed_at = ? WHERE id = ?
"""


def discard(outbox: Outbox, which: EntryFilter, reason: str = "discarded by hand") -> int:
    """Give up on entries that wait or have failed: they stay counted, their bodies are deleted.

    Returns:
        How many there were. What is in flight at the moment is left alone.
    """
    where, parameters = which.where()
    with outbox.file.writing() as cursor:
        rows = cursor.execute(
            f"SELECT request.id, lane {FROM} WHERE ({where}) AND ({PENDING} AND NOT leased OR {FAILED})",
            parameters,
        ).fetchall()
        discard_rows(cursor, rows, reason)
        return len(rows)


def discard_rows(cursor: sqlite3.Cursor, rows: list[tuple[int, int]], reason: str) -> None:
    """Discard requests, given by number and lane."""
    for number, _ in rows:
        cursor.execute(
            "UPDATE request SET state = 'discarded', leased = 0, reason = ?, changed_at = ? WHERE id = ?",
            (reason, time.time(), number),
        )
        cursor.execute("DELETE FROM body WHERE id = ?", (number,))
    for lane in {lane for _, lane in rows}:
        refresh_lane(cursor, lane)


def discard_user(
    cursor: sqlite3.Cursor, user_id: str, ordering_keys: Sequence[str], reason: str
) -> int:
    """Discard what of a user is undelivered, and what is of their devices without a user.

    What is in flight is discarded as well: it may be answered yet, but it is not sent again.

    Args:
        cursor: Of the transaction.
        user_id: The userId.
        ordering_keys: Those of the user's devices.
        reason: What a person will read.

    Returns:
        How many requests there were.
    """
    rows = []
    for undelivered in (PENDING, FAILED):
        rows += cursor.execute(
            f"SELECT id, lane FROM request WHERE user = ? AND {undelivered} AND action <> 'deletion'",
            (hash_of(user_id),),
        ).fetchall()
    for key in ordering_keys:
        rows += cursor.execute(
            f"SELECT id, lane FROM request WHERE lane = ? AND {PENDING} "
            "AND user IS NULL AND action <> 'deletion'",
            (hash_of(key),),
        ).fetchall()
    discard_rows(cursor, rows, reason)
    return len(rows)
