"""Outboxes to test with: small requests, and what a file holds, asked past the code under test."""

import sqlite3
from contextlib import closing

from kochava_segment.delivery import leases
from kochava_segment.delivery.leases import LaneResult, Settled
from kochava_segment.delivery.outbox import NewEntry
from kochava_segment.request import KochavaRequest

APP = "koapp"


def request(message_id, device="d1", action="event", app=APP, **changes):
    """A request of some bytes."""
    values = {
        "url": "https://control.kochava.com/track/json",
        "headers": {},
        "body": b'{"number":"%s"}' % str(message_id).encode(),
        "ordering_key": f"{app}/{device}",
        "action": action,
        "message_id": message_id,
    }
    return KochavaRequest(**{**values, **changes})


def put(box, *message_ids, user_id=None, **changes):
    """Put requests into an outbox; gives for each whether it is new."""
    return box.put(
        [NewEntry(request=request(name, **changes), user_id=user_id) for name in message_ids]
    )


def register(box, name="relay", lease=10.0):
    with box.file.writing() as cursor:
        return leases.register(cursor, name, lease)


def lease(box, relay, requests=100, per_lane=16, **options):
    with box.file.writing() as cursor:
        return leases.lease(cursor, relay, requests=requests, per_lane=per_lane, **options)


def names(lanes):
    """The messageIds that were leased, lane by lane."""
    return [[leased.request.message_id for leased in lane.requests] for lane in lanes]


def answered(lane, *states, wait=0.0, **details):
    """What became of a lane: a state for each request that was attempted, in order."""
    settled = tuple(
        Settled(id=leased.id, state=state, attempts=leased.attempts + 1, **details)
        for leased, state in zip(lane.requests, states, strict=False)
    )
    unsent = tuple(leased.id for leased in lane.requests[len(states) :])
    return LaneResult(lane=lane, settled=settled, unsent=unsent, wait=wait)


def settle(box, relay, *results):
    with box.file.writing() as cursor:
        return leases.settle(cursor, relay, results)


def rows(box, query, *parameters):
    """What the file holds, asked over a connection of its own."""
    with closing(sqlite3.connect(box.file.path)) as plain:
        return plain.execute(query, parameters).fetchall()


STATE = "CASE WHEN leased THEN 'in flight' ELSE state END"
"""What state a request is in, in the words of people. None but those that wait are leased."""


def states(box):
    """The state of each request, by messageId."""
    return dict(rows(box, f"SELECT message_id, {STATE} FROM request ORDER BY id"))


def assert_consistent(box, rows=rows):
    """What must hold of any outbox at any time."""
    lanes = {row[0]: row[1:] for row in rows(box, "SELECT lane, head, relay FROM lane")}
    pending = rows(box, f"SELECT lane, id, rank, {STATE} FROM request WHERE state = 'waiting'")
    assert not rows(box, "SELECT id FROM request WHERE leased AND state <> 'waiting'")
    leased = {lane for lane, (_, relay) in lanes.items() if relay is not None}
    # What a user who is forgotten had in flight is not pending any more.
    assert {lane for lane, *_ in pending} | leased == set(lanes), "no lane but for what is pending"
    for lane, number, _, state in pending:
        if state == "in flight":
            assert lanes[lane][1] is not None, f"{number} is in flight for nobody"
    for lane, (head, relay) in lanes.items():
        waiting = [(rank, number) for of, number, rank, state in pending if of == lane]
        if relay is None:
            assert head == min(waiting)[1], "a lane's head goes next"
    relays = {number for (number,) in rows(box, "SELECT id FROM relay")}
    assert {relay for _, relay in lanes.values() if relay is not None} <= relays
    bodies = {number for (number,) in rows(box, "SELECT id FROM body")}
    with_body = rows(box, "SELECT id FROM request WHERE state NOT IN ('delivered', 'discarded')")
    assert bodies == {number for (number,) in with_body}
