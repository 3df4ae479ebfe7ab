import time

import pytest

from kochava_segment.delivery import leases
from kochava_segment.delivery.outbox import NewEntry, Outbox
from kochava_segment.delivery.outbox_history import count_entries, outbox_history
from kochava_segment.delivery.outbox_inspection import EntryFilter
from kochava_segment.mapping.mapper import map_message
from kochava_segment.options import Options
from tests.messages import ios

SINCE = 1_000_000.0


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    yield box
    box.close()


def _put(outbox, *rows):
    """Put in requests of which (state, queued at, changed at) are known."""
    options = Options.load({"app_guid": "koexample"})
    for number, (state, queued_at, changed_at) in enumerate(rows):
        request = map_message(ios(messageId=f"m-{number}"), options)
        outbox.put([NewEntry(request=request)])
        with outbox.file.writing() as cursor:
            cursor.execute(
                "UPDATE request SET state = ?, queued_at = ?, changed_at = ? WHERE message_id = ?",
                (state, queued_at, changed_at, f"m-{number}"),
            )


def _history(outbox):
    return outbox_history(outbox, since=SINCE, span=60, spans=3)


def test_requests_are_counted_when_their_end_came(outbox):
    _put(
        outbox,
        ("delivered", SINCE - 500, SINCE),
        ("delivered", SINCE + 1, SINCE + 59.9),
        ("delivered", SINCE - 500, SINCE - 0.1),
        ("rejected", SINCE, SINCE + 60),
        ("exhausted", SINCE, SINCE + 179.9),
        ("ambiguous", SINCE, SINCE + 180),
        ("discarded", SINCE, SINCE + 1),
    )
    history = _history(outbox)
    assert history.accepted == [2, 0, 0]
    assert history.failed == [0, 1, 1]
    assert history.waiting == [0, 0, 0]


def test_what_waits_is_counted_when_it_came(outbox):
    _put(outbox, ("waiting", SINCE + 61, SINCE + 170), ("waiting", SINCE + 121, SINCE + 121))
    assert _history(outbox).waiting == [0, 1, 1]


def test_waits_are_those_of_delivered_requests_in_order_of_size(outbox):
    _put(
        outbox,
        ("delivered", SINCE, SINCE + 9),
        ("delivered", SINCE, SINCE + 2),
        ("delivered", SINCE + 5, SINCE + 4),  # a clock that was set back
        ("rejected", SINCE, SINCE + 1),
    )
    assert _history(outbox).waits == [0, 2, 9]


def test_an_app_that_rests_is_told_with_its_seconds(outbox):
    _put(outbox, ("waiting", SINCE, SINCE))
    assert _history(outbox).slowed == {}
    with outbox.file.writing() as cursor:
        leases.slow_down(cursor, "koexample", 30.0)
    assert _history(outbox).slowed == {"koexample": pytest.approx(30, abs=5)}


def test_entries_are_counted_as_they_are_listed(outbox):
    _put(outbox, ("rejected", time.time(), time.time()), ("delivered", SINCE, SINCE))
    assert count_entries(outbox, EntryFilter()) == 2
    assert count_entries(outbox, EntryFilter(states=("rejected",))) == 1
    assert count_entries(outbox, EntryFilter(states=("rejected",), app_guid="koother")) == 0
