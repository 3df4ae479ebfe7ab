"""What `doctor` finds of an outbox and of the secrets of a receiver."""

import os
import sqlite3
from contextlib import closing

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.cli import service_checks
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_file import SCHEMA_VERSION
from kochava_segment.delivery.outbox_inspection import outbox_depth
from kochava_segment.emulator import Faults
from tests.cli.process import environment, run
from tests.messages import ios

GUID = "kotest-app-guid"
PREFIX = "KOCHAVA_SEGMENT_"


@pytest.fixture
def path(tmp_path):
    """An outbox with two requests that nobody has sent."""
    path = tmp_path / "kochava.sqlite3"
    with KochavaDestination(GUID, outbox=path, relay=False) as kochava:
        kochava.enqueue_many([ios(messageId="m-1"), ios(messageId="m-2")])
    return path


def marks(findings):
    return [(finding.mark, finding.what, finding.advice) for finding in findings]


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


# The outbox.


def test_no_outbox_is_noted():
    ((mark, what, _),) = marks(service_checks.outbox(None))
    assert (mark, what.startswith("no outbox is set")) == ("note", True)


def test_one_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "kochava.sqlite3"
    ((mark, what, _),) = marks(service_checks.outbox(str(path)))
    assert (mark, what) == ("ok", f"the outbox {path} is not there yet, and can be made")
    assert list(tmp_path.iterdir()) == []


def test_one_that_has_no_folder(tmp_path):
    path = tmp_path / "nowhere" / "kochava.sqlite3"
    ((mark, what, advice),) = marks(service_checks.outbox(str(path)))
    assert (mark, what) == ("fail", f"the outbox {path} cannot be made in its folder")
    assert str(path.parent) in advice


def test_how_much_waits_is_told_and_it_is_left_alone(path):
    what = f"the outbox {path} can be read and written: 2 to be sent, 0 failed"
    assert marks(service_checks.outbox(str(path))) == [("ok", what, "")]
    with closing(Outbox(path)) as box:
        assert outbox_depth(box).states["waiting"] == 2


def test_what_waits_for_long_is_noted(path):
    changed(path, "UPDATE request SET queued_at = queued_at - 7200")
    _, (mark, what, advice) = marks(service_checks.outbox(str(path)))
    assert (mark, what) == ("note", "the oldest message in it has waited for 120 min")
    assert f"outbox status --outbox {path}" in advice


@pytest.mark.parametrize(
    ("status", "counts", "mark", "sentence"),
    [
        (400, "0 to be sent, 2 failed", "note", "what has failed in it waits for you"),
        (401, "2 to be sent, 0 failed", "fail", f"app {GUID} is paused"),
    ],
)
def test_what_kochava_refused_is_told(path, kochava_emulator, status, counts, mark, sentence):
    kochava_emulator.faults = Faults(error_rate=1.0, error_status=status)
    options = ("--app-guid", GUID, "--endpoint", kochava_emulator.url, "--outbox", path)
    assert run("send", *options).returncode == 1
    (_, what, _), (found, told, advice) = marks(service_checks.outbox(str(path)))
    assert counts in what
    assert found == mark
    assert told.startswith(sentence)
    assert advice


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        ((f"PRAGMA user_version={SCHEMA_VERSION + 1}",), "by a newer kochava-segment"),
        (
            ("PRAGMA application_id=1", "PRAGMA user_version=0"),
            "is an SQLite database of something",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(path, statements, sentence):
    changed(path, *statements)
    ((mark, what, _),) = marks(service_checks.outbox(str(path)))
    assert mark == "fail"
    assert what.startswith(f"the outbox cannot be used: {path}")
    assert sentence in what


def test_a_text_and_a_folder_are_no_outbox(tmp_path):
    text = tmp_path / "text"
    text.write_text("no outbox" * 500)
    assert [mark for mark, *_ in marks(service_checks.outbox(str(text)))] == ["fail"]
    assert [mark for mark, *_ in marks(service_checks.outbox(str(tmp_path)))] == ["fail"]


def test_an_older_schema_is_noted_and_not_migrated(path):
    changed(path, "PRAGMA user_version=1")
    ((mark, what, _),) = marks(service_checks.outbox(str(path)))
    assert mark == "note"
    assert f"has schema 1; its next use brings it to {SCHEMA_VERSION}" in what
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
def test_one_that_all_users_can_read_is_noted(path):
    path.chmod(0o644)
    _, (mark, what, advice) = marks(service_checks.outbox(str(path)))
    assert (mark, what) == ("note", "every user of this machine can read or write the outbox")
    assert f"chmod 600 {path}" in advice


# The secrets.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("note", "no secret of the receiver is set")]),
        ({"WEBHOOK_SECRET": " "}, [("note", "no secret of the receiver is set")]),
        ({"WEBHOOK_SECRET": "w" * 16}, [("ok", "the secrets of the receiver that are set")]),
        ({"BEARER_TOKEN": "b" * 16}, [("ok", "the secrets of the receiver that are set")]),
        (
            {"WEBHOOK_SECRET": "w" * 15, "CONSOLE_TOKEN": "c", "BEARER_TOKEN": "b" * 16},
            [("note", f"{PREFIX}WEBHOOK_SECRET, {PREFIX}CONSOLE_TOKEN: fewer than 16")],
        ),
        (
            {"POSTBACK_SECRET": "p" * 16},
            [
                ("note", "no secret of the receiver is set"),
                ("ok", "the secrets of the receiver that are set"),
            ],
        ),
        ({"WEBHOOK_SECRET": "w w"}, [("fail", f"{PREFIX}WEBHOOK_SECRET must be a string of")]),
        ({"POSTBACK_SECRET": "a/b"}, [("fail", f"{PREFIX}POSTBACK_SECRET must be letters")]),
    ],
)
def test_secrets_are_looked_at(given, expected):
    variables = {f"{PREFIX}{name}": value for name, value in given.items()}
    found = list(service_checks.receiver_secrets(variables))
    assert [finding.mark for finding in found] == [mark for mark, _ in expected]
    for finding, (_, what) in zip(found, expected, strict=True):
        assert finding.what.startswith(what)
        assert "www" not in finding.what + finding.advice


# All of it.


def test_a_service_in_which_nothing_is_wrong(path, kochava_emulator):
    given = {"APP_GUID": GUID, "OUTBOX": str(path), "ENDPOINT": kochava_emulator.url}
    secret = {"WEBHOOK_SECRET": "w" * 20, "API_KEY": "KEY", "API_SECRET": "hush"}
    variables = {f"{PREFIX}{name}": value for name, value in {**given, **secret}.items()}
    done = run("doctor", env=environment(**variables))
    assert (done.returncode, done.stderr) == (0, "")
    assert [line[:2] for line in done.stdout.splitlines()] == ["ok"] * 9
    # Looking whether it is there is no request, and nothing to complain of.
    assert kochava_emulator.requests == ()
