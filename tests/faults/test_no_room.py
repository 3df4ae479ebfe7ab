"""Full disks and files that cannot be written: the caller is told, and nothing is damaged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.errors import OutboxUnavailable
from tests.faults.processes import Sender, drained, eventually, stored, stored_numbers
from tests.faults.traffic import Arrived, message


@contextmanager
def _mounted(folder, *arguments):
    """Mount something at a folder for a while."""
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *arguments, folder], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if done.returncode:
        pytest.skip("needs the permission to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 2 MB."""
    with _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as folder:
        yield folder


def _fill(folder):
    """Leave no room on a disk; gives the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def _enqueue_until_refused(destination):
    """Enqueue until the disk is full; gives how many were taken."""
    taken = []
    with pytest.raises(OutboxUnavailable, match="the disk is full: nothing was stored"):
        taken.extend(number for number in range(10**5) if destination.enqueue(message(number)))
    return len(taken)


def _assert_sound(path):
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_disk_is_an_error_to_the_caller_and_nothing_else(small_disk):
    path = small_disk / "outbox.sqlite3"
    with KochavaEmulator(keep=10**6) as kochava:
        destination = KochavaDestination("koapp", endpoint=kochava.url, outbox=path, relay=False)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        taken = _enqueue_until_refused(destination)
        assert taken > 20
        with pytest.raises(OutboxUnavailable, match="disk is full"):
            destination.enqueue_many([message(number) for number in range(10**5, 10**5 + 600)])
        ballast.unlink()
        destination.enqueue(message(taken))  # goes on by itself
        destination.close()
        _assert_sound(path)
        # Of enqueue_many, which may have stored what fitted, the caller knows that it failed.
        numbers = [number for number in stored_numbers(path) if number < 10**5]
        assert numbers == list(range(taken + 1))
        status = drained(path, kochava.url)
        assert status.pending == 0
        assert set(range(taken + 1)) <= set(Arrived(kochava).numbers)


def test_a_relay_keeps_what_it_cannot_write_down_and_writes_it_later(small_disk, caplog):
    path = small_disk / "outbox.sqlite3"
    with KochavaEmulator(faults=Faults(latency=1.0)) as kochava:
        with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as destination:
            destination.enqueue_many([message(number) for number in range(10)])
            eventually(lambda: kochava.received == 10)
            ballast = _fill(small_disk)
            eventually(lambda: "the relay waits" in caplog.text)
            kept = {entry.state for entry in stored(path)}
            # On a busy machine, some answers come before the disk is full.
            assert kept - {"delivered"} == {"in flight"}
            with pytest.raises(OutboxUnavailable):
                destination.enqueue(message(10))
            ballast.unlink()
            status = destination.flush(20)
        assert "the relay goes on" in caplog.text
        assert (status.states, status.maybe_repeated) == ({"delivered": 10}, 0)
        assert kochava.counted == 10


def test_a_limit_on_the_size_of_files_is_an_error_to_the_caller(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with KochavaEmulator(keep=10**6) as kochava:
        sender = Sender(
            tmp_path,
            largest_file=300_000,
            options={"outbox": str(path), "endpoint": kochava.url, "relay": False},
        )
        assert sender.end() == 1
        assert "OutboxUnavailable" in sender.errors
        _assert_sound(path)
        assert stored_numbers(path) == sender.acknowledged != []
        assert drained(path, kochava.url).states == {"delivered": len(sender.acknowledged)}


@contextmanager
def _read_only(folder):
    """Let nothing be written in a folder for a while."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        for file in folder.iterdir():
            file.chmod(0o400)
        try:
            yield
        finally:
            folder.chmod(0o700)
            for file in folder.iterdir():
                file.chmod(0o600)
        return
    # Permissions are nothing to root, but a file system that is mounted read-only is.
    with _mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def test_a_folder_that_cannot_be_written_is_an_error_to_the_caller(folder):
    path = folder / "outbox.sqlite3"
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        with _read_only(folder), pytest.raises(OutboxUnavailable) as caught:
            destination.enqueue(message(0))
        assert str(path) in str(caught.value)
        destination.enqueue(message(1))
    assert stored_numbers(path) == [1]


def test_a_file_that_cannot_be_written_is_an_error_to_the_caller_and_is_left_alone(folder):
    path = folder / "outbox.sqlite3"
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        destination.enqueue(message(0))
    before = path.read_bytes()
    with _read_only(folder):
        destination = KochavaDestination("koapp", outbox=path, relay=False)
        with pytest.raises(OutboxUnavailable, match="permissions"):
            destination.enqueue(message(1))
        destination.close()
    assert path.read_bytes() == before
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        destination.enqueue(message(2))
    assert stored_numbers(path) == [0, 2]


def test_a_file_that_becomes_read_only_while_it_is_open_loses_nothing(folder):
    path = folder / "outbox.sqlite3"
    with KochavaEmulator() as kochava:
        with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as destination:
            destination.enqueue(message(0))
            assert destination.flush(20).states == {"delivered": 1}
        with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as destination:
            with _read_only(folder):
                with pytest.raises(OutboxUnavailable):
                    destination.enqueue(message(1))
                destination.start_relay()
                time.sleep(0.3)
            destination.enqueue(message(2))
            assert destination.flush(20).states == {"delivered": 2}
        assert Arrived(kochava).numbers == [0, 2]
