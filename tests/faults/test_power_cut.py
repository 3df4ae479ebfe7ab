"""Power cuts, on a disk that keeps no more than it was asked to.

A program works with an outbox while a library in C writes down all its writes and syncs. Then the power
is cut after any of these: what was not synced is there in part, and an outbox is opened on what is left.
"""

from __future__ import annotations

import random

import pytest

from kochava_segment.delivery import outbox_file
from kochava_segment.emulator import KochavaEmulator
from tests.faults.disk import Disk, Record, read_log, recorder
from tests.faults.processes import QUICK, Sender, say, stored_numbers
from tests.long import many

_NAME = "outbox.sqlite3"
_TIDY_UP = 40  # pages: the -wal file is moved into the database often enough to be caught at it


def _record(tmp_path, durability, messages):
    """Have a program enqueue and send; gives the records, and its acknowledgements among them."""
    folder = tmp_path / "disk"
    folder.mkdir()
    log = tmp_path / "log"
    with KochavaEmulator(keep=0) as kochava:
        sender = Sender(
            tmp_path,
            environ=recorder(folder, log, tmp_path),
            options={
                "outbox": str(folder / _NAME),
                "endpoint": kochava.url,
                "durability": durability,
                "outbox_retry": QUICK,
                "workers": 2,
            },
            count=messages,
            checkpoint_pages=_TIDY_UP,
            acknowledge_in=str(folder / "acknowledged"),
            then="flush",
        )
        assert sender.end() == 0, sender.errors
    records = read_log(log)
    if not any(record.path.endswith("-wal") for record in records):
        pytest.skip("this SQLite does not write by way of the C library's names")
    return folder, records


def _cut(folder, records, tmp_path, cuts, chance):
    """Cut the power at so many moments; gives for each what was acknowledged and what is there."""
    at = set(chance.sample(range(len(records)), min(cuts, len(records))))
    disk, acknowledged, found = Disk(folder), -1, []
    for number, record in enumerate(records):
        if record.path.endswith("acknowledged"):
            acknowledged = int(record.data)
        else:
            disk.do(record)
        if number in at:
            left = tmp_path / "left"
            left.mkdir(exist_ok=True)
            for file in left.iterdir():
                file.unlink()
            for name, content in disk.after_a_power_cut(chance).items():
                if not name.endswith("-shm"):  # a cache in memory
                    (left / name).write_bytes(content)
            # Opening checks the whole file, and raises where it is damaged.
            found.append((acknowledged, stored_numbers(left / _NAME)))
    return found


def _missing_after_cuts(tmp_path, durability, messages, cuts):
    chance = random.Random(5)
    folder, records = _record(tmp_path, durability, messages)
    found = _cut(folder, records, tmp_path, cuts, chance)
    for _, numbers in found:
        assert numbers == list(range(len(numbers)))  # what is missing is the newest, without gaps
    missing = [max(0, acknowledged + 1 - len(numbers)) for acknowledged, numbers in found]
    syncs = sum(record.what == "S" for record in records)
    say(
        f"{durability}: {len(records)} writes and syncs, {syncs} of them syncs; {len(found)} cuts, "
        f"acknowledged ones missing after {sum(map(bool, missing))} of them, at most {max(missing)}"
    )
    return missing


def test_full_durability_keeps_all_that_was_acknowledged(tmp_path):
    assert not any(_missing_after_cuts(tmp_path, "full", messages=100, cuts=60))


def test_normal_durability_can_lose_the_newest_but_leaves_a_sound_file(tmp_path):
    assert any(_missing_after_cuts(tmp_path, "normal", messages=100, cuts=60))


@pytest.mark.slow
def test_full_durability_keeps_all_that_was_acknowledged_whenever_the_power_is_cut(tmp_path):
    missing = _missing_after_cuts(tmp_path, "full", messages=400, cuts=many(4_000))
    assert not any(missing)


@pytest.mark.slow
def test_normal_durability_leaves_a_sound_file_whenever_the_power_is_cut(tmp_path):
    assert any(_missing_after_cuts(tmp_path, "normal", messages=400, cuts=many(4_000)))


def test_the_disk_forgets_what_was_not_synced(tmp_path):
    """Of the simulation itself: a file without its sync is found without its content."""
    disk, path = Disk(tmp_path), str(tmp_path / "file")
    disk.do(Record("W", path, 0, b"a" * 1024))
    seen = {tuple(disk.after_a_power_cut(random.Random(seed)).items()) for seed in range(50)}
    assert () in seen  # not even its name
    disk.do(Record("S", path, 0, b""))
    disk.do(Record("S", str(tmp_path), 0, b""))
    disk.do(Record("W", path, 512, b"b" * 1024))
    contents = {disk.after_a_power_cut(random.Random(seed))["file"] for seed in range(50)}
    assert {b"a" * 1024, b"a" * 512 + b"b" * 1024} < contents
    assert b"a" * 512 + b"b" * 512 in contents  # torn
    assert all(content.startswith(b"a" * 512) for content in contents)


def test_the_tests_make_sqlite_tidy_up_more_often_than_it_would():
    assert _TIDY_UP < outbox_file._CHECKPOINT_PAGES
