"""What an outbox tells of the past: how many requests came to what end, minute by minute.

It is counted from the requests themselves, so that it survives restarts and holds for all processes
that share the file. Delivered requests are there for `dedup_window`, unless room was needed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from attrs import frozen

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_file import FAILED, PENDING
from kochava_segment.delivery.outbox_inspection import EntryFilter

_LATEST = 10_000  # delivered requests whose waiting is looked at
_ACCEPTED, _FAILED, _WAITING = "accepted", "failed", "waiting"
_KIND = (
    f"CASE WHEN state = 'delivered' THEN '{_ACCEPTED}' WHEN {FAILED} THEN '{_FAILED}' "
    f"WHEN {PENDING} THEN '{_WAITING}' END"
)
_WHEN = f"CASE WHEN {PENDING} THEN queued_at ELSE changed_at END"


@frozen(kw_only=True)
class OutboxHistory:
    """What became of requests, in equal spans of time.

    Attributes:
        accepted: For each span, how many requests Kochava took in it.
        failed: How many were given up in it: rejected, exhausted or ambiguous.
        waiting: How many that were put in then are still to be sent.
        waits: Seconds from being put in to being taken, of the latest that were; in order of size.
        slowed: App GUIDs that rest after a 429, and for how many seconds more.
    """

    accepted: Sequence[int]
    failed: Sequence[int]
    waiting: Sequence[int]
    waits: Sequence[float]
    slowed: Mapping[str, float]


def outbox_history(outbox: Outbox, *, since: float, span: float, spans: int) -> OutboxHistory:
    """Count. It looks at all requests, so it should not be done too often.

    Args:
        outbox: The outbox.
        since: Epoch seconds at which the first span begins.
        span: Seconds that each of them lasts.
        spans: How many there are.

    Raises:
        OutboxError: if the outbox cannot be read.
    """
    counts = {kind: [0] * spans for kind in (_ACCEPTED, _FAILED, _WAITING)}
    parameters = {"since": since, "span": span, "end": since + span * spans, "latest": _LATEST}
    with outbox.file.reading() as connection:
        rows = connection.execute(
            f"SELECT {_KIND} AS kind, CAST(({_WHEN} - :since) / :span AS INTEGER), COUNT(*) "
            f"FROM request WHERE {_WHEN} >= :since AND {_WHEN} < :end AND kind IS NOT NULL "
            "GROUP BY 1, 2",
            parameters,
        )
        for kind, number, count in rows:
            counts[kind][min(number, spans - 1)] += count
        waits = connection.execute(
            "SELECT changed_at - queued_at FROM request "
            "WHERE state = 'delivered' AND changed_at >= :since ORDER BY id DESC LIMIT :latest",
            parameters,
        ).fetchall()
        now = time.monotonic()
        slowed = connection.execute(
            "SELECT guid, not_before - ? FROM app WHERE not_before > ? ORDER BY guid", (now, now)
        ).fetchall()
    return OutboxHistory(
        accepted=counts[_ACCEPTED],
        failed=counts[_FAILED],
        waiting=counts[_WAITING],
        waits=sorted(max(0.0, wait) for (wait,) in waits),
        slowed=dict(slowed),
    )


def count_entries(outbox: Outbox, which: EntryFilter) -> int:
    """How many entries are meant.

    Raises:
        OutboxError: if the outbox cannot be read.
    """
    where, parameters = which.where()
    with outbox.file.reading() as connection:
        (count,) = connection.execute(
            f"SELECT COUNT(*) FROM request JOIN app ON app.id = request.app WHERE {where}",
            parameters,
        ).fetchone()
        return int(count)
