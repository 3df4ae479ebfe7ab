"""Files that are damaged, of another kind or newer: refused with advice, unchanged, and salvaged."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.outbox_file import SCHEMA_VERSION
from kochava_segment.errors import OutboxUnusable
from tests.cli.process import run
from tests.faults.processes import stored_numbers
from tests.faults.traffic import message

_MESSAGES = 200
_PAGE = 4096


@pytest.fixture
def path(tmp_path):
    """An outbox with messages in it, in one file."""
    path = tmp_path / "outbox.sqlite3"
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        for first in range(0, _MESSAGES, 20):  # what is stored together lies together
            destination.enqueue_many([message(first + number) for number in range(20)])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    return path


def _overwrite(path, position, data):
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def _root_of(path, table):
    with closing(sqlite3.connect(path)) as plain:
        found = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        return found.fetchone()[0]


def _garbage_in_the_header(path):
    _overwrite(path, 0, b"\xa5" * 100)


def _garbage_in_all_of_the_first_page(path):
    _overwrite(path, 0, b"\xa5" * _PAGE)


def _garbage_in_the_middle(path):
    pages = path.stat().st_size // _PAGE
    for page in range(pages // 2, pages // 2 + 6):
        _overwrite(path, page * _PAGE, b"\xa5" * _PAGE)


def _zeros_in_the_requests(path):
    _overwrite(path, (_root_of(path, "request") - 1) * _PAGE, bytes(_PAGE))


def _cut_off(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // _PAGE * _PAGE)


def _cut_off_within_a_page(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 100)


def _text(path):
    path.write_text("timestamp,event\n" * 500)


_SALVAGE = "outbox export --salvage"
_ANOTHER = "is no outbox: it is another kind of file, or its beginning is damaged"
_DAMAGES = (
    (_garbage_in_the_header, _ANOTHER),
    (_garbage_in_all_of_the_first_page, _ANOTHER),
    (_garbage_in_the_middle, _SALVAGE),
    (_zeros_in_the_requests, _SALVAGE),
    (_cut_off, _SALVAGE),
    (_cut_off_within_a_page, _SALVAGE),
    (_text, _ANOTHER),
)


def _assert_refused(path, advice):
    before = path.read_bytes()
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        for attempt in (lambda: destination.enqueue(message(0)), lambda: destination.flush(0.1)):
            with pytest.raises(OutboxUnusable) as caught:
                attempt()
            assert str(path) in str(caught.value)
            assert advice in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("damage", "advice"), _DAMAGES)
def test_a_damaged_file_is_refused_with_advice_and_left_as_it_is(path, damage, advice):
    damage(path)
    _assert_refused(path, advice)


def test_a_command_refuses_a_damaged_file_in_a_sentence(path):
    _garbage_in_the_middle(path)
    before = path.read_bytes()
    shown = run("outbox", "status", "--outbox", path)
    assert shown.returncode == 1
    assert _SALVAGE in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "shop.sqlite3"
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        plain.commit()
    _assert_refused(path, "is an SQLite database of something else")


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(path):
    with closing(sqlite3.connect(path)) as plain:
        plain.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    _assert_refused(path, "update it. Nothing was changed")


def test_an_empty_file_is_an_outbox_that_is_not_made_yet(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    path.touch()
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        destination.enqueue(message(0))
    assert stored_numbers(path) == [0]


def _salvaged(path):
    """What `outbox export --salvage` gets out, by messageId, and what it says."""
    done = run("outbox", "export", "--salvage", "--reveal", "--outbox", path)
    assert "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done


@pytest.mark.parametrize("damage", [_garbage_in_the_middle, _cut_off, _cut_off_within_a_page])
def test_what_can_be_read_of_a_damaged_file_is_salvaged(path, damage):
    damage(path)
    before = path.read_bytes()
    salvaged, done = _salvaged(path)
    assert done.returncode == 0
    assert f"{len(salvaged)} requests read" in done.stderr
    assert path.read_bytes() == before
    whole = {entry["id"]: entry["payload"] for entry in salvaged}
    assert len(whole) == len(salvaged) > _MESSAGES // 5
    with KochavaDestination("koapp") as destination:
        for number, payload in whole.items():
            assert payload == destination.map(message(number - 1)).payload


def test_all_is_salvaged_where_only_the_counts_are_damaged(path):
    _zeros_in_the_requests(path)
    salvaged, _ = _salvaged(path)
    assert [entry["id"] for entry in salvaged] == list(range(1, _MESSAGES + 1))


@pytest.mark.parametrize("damage", [_garbage_in_the_header, _text])
def test_where_nothing_can_be_read_salvaging_says_so(path, damage):
    damage(path)
    salvaged, done = _salvaged(path)
    assert salvaged == []
    assert "0 requests read" in done.stderr
