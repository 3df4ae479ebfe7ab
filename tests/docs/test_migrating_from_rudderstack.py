"""The names that docs/migrating-from-rudderstack.md promises are those that are sent."""

import json
import re
from pathlib import Path

import pytest

from kochava_segment import KochavaDestination

PAGE = Path(__file__).parents[2] / "docs" / "migrating-from-rudderstack.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("| Segment event | RudderStack | Here |\n")[2]
ROWS = [
    tuple(cell.strip() for cell in row.split(" | "))
    for row in re.findall(r"^\| (.+) \|$", TABLE.partition("\n\n")[0], re.MULTILINE)
]
NAMED = [row for row in ROWS[1:] if re.fullmatch(r"[A-Z][A-Za-z ]+", row[2])]


@pytest.fixture
def kochava():
    return KochavaDestination("koexample-app-guid")


def name_of(event, kochava):
    request = kochava.map({"type": "track", "event": event, "anonymousId": "a-1"})
    return json.loads(request.body)["data"]["event_name"]


@pytest.mark.parametrize(("event", "_before", "here"), NAMED, ids=lambda cell: cell)
def test_standard_events(event, _before, here, kochava):
    assert name_of(event, kochava) == here


def test_other_events_keep_their_names(kochava):
    assert name_of("Shared Photo", kochava) == "Shared Photo"


def test_the_table_was_found():
    assert len(NAMED) == 8
