"""What can still be read of a damaged outbox."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

_AT_ONCE = 500  # requests that are read in one go


def salvage(path: str | Path) -> Iterator[dict[str, Any]]:
    """What can still be read of a damaged outbox: undelivered requests with their bodies.

    Each is a dict with `id`, `state`, `action`, `message_id`, `url` and `payload`, where these can
    be read; the last item is `{"unreadable": N}`, the number of places at which reading failed.
    """
    unreadable = 0
    uri = f"{Path(path).resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = _readable_text
        # Without this, SQLite reads nothing at all of a file that was cut off.
        connection.execute("PRAGMA writable_schema=1")
        last, number, failures = _last_number(connection), 1, 0
        while number <= last and failures < _GIVE_UP_AFTER:
            following = min(number + _AT_ONCE, last + 1)
            rows, failed = _salvaged(connection, number, following)
            yield from rows
            unreadable += failed
            failures = failures + 1 if failed and not rows else 0
            number = following if rows or failed else _next_number(connection, following)
    yield {"unreadable": unreadable}


# ValueError is of a body that is no JSON any more; TypeError of one that is no text at all.
_UNREADABLE = (sqlite3.Error, ValueError, TypeError)
_BEYOND_THE_READABLE = 10_000
_GIVE_UP_AFTER = 1_000  # portions without anything: a damaged page may claim endless numbers


def _readable_text(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _last_number(connection: sqlite3.Connection) -> int:
    """The last number that there may be."""
    claims = []
    for query in ("SELECT MAX(id) FROM body", "SELECT MAX(id) FROM request"):
        with contextlib.suppress(sqlite3.Error):
            (last,) = connection.execute(query).fetchone()
            claims.append(last or 0)
    if all(claims) and len(claims) > 1:
        return max(claims)
    # A page that is gone, or one of zeros that seems to be empty: it may have been the last.
    last = 0
    with contextlib.suppress(sqlite3.Error):
        for (number,) in connection.execute("SELECT id FROM body ORDER BY id"):
            last = max(last, number)  # until a page that cannot be read; in a torn one it may be 0
    return max(*claims, last + _BEYOND_THE_READABLE if last else 0, 0)


def _next_number(connection: sqlite3.Connection, number: int) -> int:
    """The first number from one on that there is; that one where it cannot be told."""
    try:
        (found,) = connection.execute(
            "SELECT MIN(id) FROM body WHERE id >= ?", (number,)
        ).fetchone()
    except sqlite3.Error:
        return number
    return sys.maxsize if found is None else int(found)


def _salvaged(
    connection: sqlite3.Connection, first: int, end: int
) -> tuple[list[dict[str, Any]], int]:
    """What can be read of some numbers, and how many cannot."""
    try:
        return _salvaged_rows(connection, first, end - 1), 0
    except _UNREADABLE:  # there is a damaged page: one by one, then
        rows, failed = [], 0
        for number in range(first, end):
            try:
                rows += _salvaged_rows(connection, number, number)
            except _UNREADABLE:
                failed += 1
        return rows, failed


def _salvaged_rows(connection: sqlite3.Connection, first: int, last: int) -> list[dict[str, Any]]:
    found = []
    for number, url, body in connection.execute(
        "SELECT id, url, body FROM body WHERE id BETWEEN ? AND ?", (first, last)
    ):
        entry: dict[str, Any] = {"id": number, "url": url, "payload": json.loads(body)}
        try:
            row = connection.execute(
                "SELECT state, action, message_id FROM request WHERE id = ?", (number,)
            ).fetchone()
        except sqlite3.Error:
            row = None
        entry |= dict(zip(("state", "action", "message_id"), row or (None,) * 3, strict=True))
        found.append(entry)
    return found
