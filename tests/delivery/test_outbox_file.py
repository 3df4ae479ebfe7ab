"""The file: whom it belongs to, what it refuses, what its errors mean."""

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kochava_segment.delivery import leases, outbox_file
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_file import SCHEMA_VERSION, OutboxFile
from kochava_segment.errors import OutboxError, OutboxUnavailable, OutboxUnusable
from tests.delivery.outboxes import put, rows, states


def _read(path):
    file = OutboxFile(path)
    try:
        with file.reading() as connection:
            return connection.execute("SELECT COUNT(*) FROM request").fetchone()[0]
    finally:
        file.close()


def _store(path, *message_ids):
    with closing(Outbox(path)) as box:
        put(box, *message_ids)


def test_it_is_made_for_its_owner_alone_with_what_lies_beside_it(tmp_path):
    before = os.umask(0)
    try:
        box = Outbox(tmp_path / "outbox.sqlite3")
        put(box, "m-1")
    finally:
        os.umask(before)
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(names) == {"outbox.sqlite3", "outbox.sqlite3-wal", "outbox.sqlite3-shm"}
    assert set(names.values()) == {0o600}
    box.close()


def test_a_link_to_a_file_that_is_not_there_makes_it_for_its_owner_alone(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "far")
    before = os.umask(0)
    try:
        _store(tmp_path / "link", "m-1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "far").stat().st_mode) == 0o600


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o660, 0), (0o604, 1), (0o606, 1)])
def test_a_file_that_all_users_can_read_is_told_once(tmp_path, caplog, mode, told):
    path = tmp_path / "outbox.sqlite3"
    _store(path, "m-1")
    path.chmod(mode)
    box = Outbox(path)
    put(box, "m-2")
    box.close()
    put(box, "m-3")
    events = [getattr(record, "kochava_event", "") for record in caplog.records]
    assert events.count("outbox_not_private") == told
    box.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_told():
    program = (
        "import logging, os, sys; logging.basicConfig()\n"
        "from kochava_segment.delivery.outbox import Outbox\n"
        "os.setegid(0); os.seteuid(54_321)\n"
        "with Outbox(sys.argv[1]).file.writing(): pass\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's are for their owner alone
        os.chmod(folder, 0o777)  # noqa: PTH101
        path = Path(folder) / "outbox.sqlite3"
        _store(path, "m-1")
        os.chown(path, 12_345, 0)
        for file in Path(folder).iterdir():
            file.chmod(0o660)
        done = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
        )
    assert f"another user owns {path}" in done.stderr


def test_nothing_is_made_before_it_is_used(tmp_path):
    Outbox(tmp_path / "outbox.sqlite3").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_how_often_the_disk_is_synced(tmp_path, durability, level):
    file = OutboxFile(tmp_path / "outbox.sqlite3", durability)
    with file.writing() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (level,)
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def _foreign(path):
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE album (name TEXT)")
        plain.commit()


def _newer(path):
    file = OutboxFile(path)
    with file.writing():
        pass
    file.close()
    with closing(sqlite3.connect(path)) as plain:
        plain.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        plain.execute("PRAGMA journal_mode=DELETE")


def _of_another_program(path):
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("PRAGMA application_id=1")


def _text(path):
    path.write_text("messageId,userId\n" * 200)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_foreign, "an SQLite database of something else: name another file"),
        (_of_another_program, "an SQLite database of something else"),
        (_newer, rf"newer kochava-segment \(schema {SCHEMA_VERSION + 1}; this one knows"),
        (_text, "is no outbox: it is another kind of file"),
    ],
)
def test_what_is_no_outbox_of_ours_is_refused_and_not_changed(tmp_path, make, says):
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes()
    for use in (
        _read,
        lambda path: _store(path, "m-1"),
        lambda path: Outbox(path).file.vacuum(),
    ):
        with pytest.raises(OutboxUnusable, match=says):
            use(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_empty_file_becomes_an_outbox(tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert _read(path) == 0


def test_an_older_file_is_migrated_with_everything_in_it(tmp_path, monkeypatch):
    path = tmp_path / "outbox.sqlite3"
    box = Outbox(path)
    put(box, "m-1")
    box.close()
    step = "ALTER TABLE request ADD COLUMN colour TEXT; UPDATE request SET colour = 'red'"
    monkeypatch.setattr(outbox_file, "_MIGRATIONS", (*outbox_file._MIGRATIONS, step))
    monkeypatch.setattr(outbox_file, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    assert _read(path) == 1
    assert _read(path) == 1, "once"
    assert rows(box, "SELECT message_id, colour FROM request") == [("m-1", "red")]
    assert rows(box, "PRAGMA user_version") == [(SCHEMA_VERSION + 1,)]


def test_what_a_relay_had_in_an_older_file_is_sent_after_the_migration(tmp_path, monkeypatch):
    path = tmp_path / "outbox.sqlite3"
    with monkeypatch.context() as older:
        older.setattr(outbox_file, "_MIGRATIONS", outbox_file._MIGRATIONS[:1])
        older.setattr(outbox_file, "SCHEMA_VERSION", 1)
        box = Outbox(path)
        put(box, "m-1", "m-2")
        with box.file.writing() as cursor:
            relay = leases.register(cursor, "dead", lease=0.0)
            cursor.execute("UPDATE lane SET relay = ?", (relay,))
            cursor.execute("UPDATE request SET state = 'in flight' WHERE message_id = 'm-1'")
        box.close()
    box = Outbox(path)
    assert _read(path) == 2
    assert states(box) == {"m-1": "in flight", "m-2": "waiting"}
    with box.file.writing() as cursor:
        relay = leases.register(cursor, "alive", lease=10.0)
        assert [count for _, count in leases.recover(cursor, relay)] == [1]
        (lane,) = leases.lease(cursor, relay, requests=2, per_lane=2)
    assert [leased.request.message_id for leased in lane.requests] == ["m-1", "m-2"]
    assert [leased.maybe_sent for leased in lane.requests] == [1, 0]
    box.close()


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "outbox.sqlite3"
    box = Outbox(path)
    put(box, "m-1")
    box.close()
    step = "ALTER TABLE request ADD COLUMN colour TEXT; SELECT * FROM nowhere"
    monkeypatch.setattr(outbox_file, "_MIGRATIONS", (*outbox_file._MIGRATIONS, step))
    monkeypatch.setattr(outbox_file, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(OutboxError, match="SQLite says: no such table: nowhere"):
        _read(path)
    monkeypatch.undo()
    assert _read(path) == 1
    assert rows(box, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_damaged_file_is_refused_with_advice(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    box = Outbox(path)
    put(box, *(f"m-{number}" for number in range(500)))
    box.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(OutboxUnusable, match=r"is damaged\. Move it away.*export --salvage PATH"):
        _store(path, "m-1")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutboxUnavailable, match=r"nowhere/outbox cannot be made: No such file"):
        _store(tmp_path / "nowhere" / "outbox", "m-1")


def test_a_folder_in_its_place_is_an_error_of_ours(tmp_path):
    with pytest.raises(OutboxUnavailable, match="the file cannot be opened"):
        _store(tmp_path, "m-1")


def test_a_file_that_others_keep_locked_is_unavailable_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_file, "_BUSY_TIMEOUT", 0.2)
    path = tmp_path / "outbox.sqlite3"
    box = Outbox(path)
    put(box, "m-1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxUnavailable, match="other processes kept it locked"):
            put(box, "m-2")
        other.execute("COMMIT")
    assert put(box, "m-2") == [True]
    box.close()


def test_any_other_error_of_sqlite_is_one_of_ours_too(tmp_path):
    file = OutboxFile(tmp_path / "outbox.sqlite3")
    with (
        pytest.raises(OutboxError, match="SQLite says: no such table: nowhere"),
        file.writing() as c,
    ):
        c.execute("SELECT * FROM nowhere")
    with file.writing() as cursor:
        cursor.execute("SELECT * FROM request")
    file.close()


def test_reading_cannot_write(tmp_path):
    file = OutboxFile(tmp_path / "outbox.sqlite3")
    with pytest.raises(OutboxUnavailable), file.reading() as connection:
        connection.execute("DELETE FROM request")
    file.close()


def test_reading_does_not_wait_for_writing(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    put(box, "m-1")
    counts = []

    def read():
        with closing(sqlite3.connect(box.file.path, timeout=0)) as connection:
            counts.append(connection.execute("SELECT COUNT(*) FROM request").fetchone()[0])

    with box.file.writing() as cursor:
        cursor.execute("DELETE FROM request")
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(5)
    assert counts == [1]
    box.close()


def test_opening_it_twice_in_a_process_leaves_the_first_its_locks(tmp_path):
    """POSIX takes all locks of a process off a file when it closes any descriptor of it."""
    path = tmp_path / "outbox.sqlite3"
    first = Outbox(path)
    put(first, "m-1")
    second = Outbox(path)
    put(second, "m-2")
    second.close()
    # The last one to leave merges the -wal file and removes it: another process is not the last.
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM request')"
    )
    subprocess.run(
        [sys.executable, "-c", f"{script}; c.close()", str(path)], check=True, timeout=30
    )
    assert path.with_name("outbox.sqlite3-wal").exists()
    put(first, "m-3")
    first.close()
    assert _read(path) == 3


def test_threads_write_side_by_side(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    threads = [
        threading.Thread(target=lambda n=n: [put(box, f"{n}-{i}") for i in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(box, "SELECT COUNT(*) FROM request") == [(400,)]
    box.close()


def _write_some(path, number):
    box = Outbox(path)
    for index in range(50):
        put(box, f"{number}-{index}")
    box.close()


def test_processes_make_and_write_one_file_at_the_same_time(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_some, args=(path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert _read(path) == 150


def test_vacuum_gives_the_disk_back_what_is_free(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite3")
    put(box, *(f"m-{number}" for number in range(300)), body=b"x" * 5000)
    with box.file.writing() as cursor:
        cursor.execute("DELETE FROM body")
        used = box.file.used_bytes(cursor)
    before, after = box.file.vacuum()
    assert before > 1_000_000
    assert after <= used + 8192
    assert put(box, "another") == [True]
    box.close()


def test_vacuum_of_a_locked_file_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_file, "_BUSY_TIMEOUT", 0.2)
    box = Outbox(tmp_path / "outbox.sqlite3")
    put(box, "m-1")
    with closing(sqlite3.connect(box.file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxUnavailable, match="locked"):
            box.file.vacuum()
    box.close()
