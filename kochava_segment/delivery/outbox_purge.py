"""What an outbox forgets, for its age or for room: it stays counted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

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


def purge_old(
    cursor: sqlite3.Cursor,
    after: int,
    *,
    dedup_window: float,
    retention: float,
    limit: int = 2_000,
) -> int | None:
    """Forget some of what was kept long enough: delivered for the window, failed for longer.

    Args:
        cursor: Of the transaction.
        after: The number that the call before gave, 0 to begin.
        dedup_window: Seconds for which delivered ones are kept.
        retention: Seconds for which failed ones are kept.
        limit: How many requests to look at.

    Returns:
        Where to go on, None where there is nothing more to be found.
    """
    now = time.time()
    delivered_before = now - dedup_window
    failed_before = now - retention
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
