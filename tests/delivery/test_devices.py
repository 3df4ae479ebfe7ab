"""The device directory: which devices it knows of whom, for how long, and what it forgets."""

import json

import pytest

from kochava_segment.delivery import devices as module
from kochava_segment.delivery.devices import DeviceDirectory, KnownDevice
from kochava_segment.delivery.outbox_file import OutboxFile

DAY = 24 * 3600.0


class _Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def file(tmp_path):
    file = OutboxFile(tmp_path / "outbox.sqlite3")
    yield file
    file.close()


@pytest.fixture
def directory(file, clock):  # noqa: ARG001  # its clock
    return DeviceDirectory(file)


def device(name, **changes):
    values = {
        "app_guid": "koapp",
        "platform": "apple",
        "kochava_device_id": name,
        "device_ids": {"idfv": name},
    }
    return KnownDevice(**{**values, **changes})


def remember(directory, file, name, user_id=None, anonymous_id=None):
    known = device(name) if isinstance(name, str) else name
    with file.writing() as cursor:
        directory.remember(cursor, known, user_id=user_id, anonymous_id=anonymous_id)


def forget(directory, file, user_id):
    with file.writing() as cursor:
        return directory.forget(cursor, user_id)


def names(directory, user_id=None, anonymous_id=None):
    return [known.kochava_device_id for known in directory.devices_of(user_id, anonymous_id)]


def count(file, table):
    with file.reading() as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


def test_a_device_is_known_by_all_that_was_seen(directory, file, clock):
    seen = device("d1", platform=None, device_ids={"idfa": "A", "custom": "ü"})
    remember(directory, file, seen, "u-1", "a-1")
    (known,) = directory.devices_of("u-1")
    assert known == device(
        "d1", platform=None, device_ids={"idfa": "A", "custom": "ü"}, last_seen=clock.now
    )
    assert names(directory, anonymous_id="a-1") == ["d1"]
    assert names(directory, "u-2") == names(directory, "a-1") == []
    assert names(directory) == []


def test_the_user_id_goes_before_the_anonymous_id(directory, file):
    remember(directory, file, "d1", "u-1")
    remember(directory, file, "d2", None, "a-1")
    assert names(directory, "u-1", "a-1") == ["d1"]
    assert names(directory, "u-2", "a-1") == ["d2"]


def test_the_latest_are_kept_and_come_first(directory, file, clock):
    for number in range(7):
        remember(directory, file, f"d{number}", "u-1")
        clock.now += 1
    assert names(directory, "u-1") == ["d6", "d5", "d4", "d3", "d2"]
    assert count(file, "device") == 5, "the others are forgotten, not only hidden"


def test_what_is_seen_again_is_late_again_once_ten_minutes_have_passed(directory, file, clock):
    remember(directory, file, "d1", "u-1")
    clock.now += 10
    remember(directory, file, "d2", "u-1")
    remember(directory, file, "d1", "u-1")
    assert names(directory, "u-1") == ["d2", "d1"]
    clock.now += 601
    remember(directory, file, "d1", "u-1")
    assert names(directory, "u-1") == ["d1", "d2"]


def test_how_many_and_how_long_are_settings(file, clock):
    directory = DeviceDirectory(file, per_user=1, days=2)
    remember(directory, file, "d1", "u-1")
    clock.now += 1
    remember(directory, file, "d2", "u-1")
    assert names(directory, "u-1") == ["d2"]
    clock.now += 2 * DAY + 1
    assert names(directory, "u-1") == []


def test_after_400_days_a_device_is_not_known_and_then_not_stored(directory, file, clock):
    remember(directory, file, "d1", "u-1")
    clock.now += 399 * DAY
    assert names(directory, "u-1") == ["d1"]
    clock.now += 2 * DAY
    assert names(directory, "u-1") == []
    remember(directory, file, "d2", "u-2")
    assert count(file, "device") == count(file, "owner") == 1


def test_tidying_up_goes_on_where_it_stopped(directory, file, clock, monkeypatch):
    monkeypatch.setattr(module, "_LOOKED_AT_ONCE", 3)
    for number in range(8):
        remember(directory, file, f"d{number}", f"u-{number}")
    clock.now += 401 * DAY
    for number in range(5):
        remember(directory, file, "new", f"v-{number}")
        clock.now += 2
    assert count(file, "device") == 1


def test_a_device_of_two_users_is_one(directory, file):
    remember(directory, file, "d1", "u-1")
    remember(directory, file, "d1", "u-2")
    assert count(file, "device") == 1
    assert names(directory, "u-1") == names(directory, "u-2") == ["d1"]


def test_what_was_rolled_back_is_remembered_the_next_time(directory, file):
    with pytest.raises(RuntimeError):
        _remember_and_fail(directory, file)
    directory.rolled_back()
    remember(directory, file, "d1", "u-1")
    assert names(directory, "u-1") == ["d1"]


def _remember_and_fail(directory, file):
    with file.writing() as cursor:
        directory.remember(cursor, device("d1"), user_id="u-1", anonymous_id=None)
        raise RuntimeError


def test_memory_of_what_was_written_lately_is_bounded(directory, file, monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    for number in range(10):
        remember(directory, file, f"d{number}", "u-1")
    assert len(directory._written) <= 3


# Forgetting.


def test_a_user_is_forgotten_with_their_devices_and_anonymous_ids(directory, file):
    remember(directory, file, "d1", "u-1", "a-1")
    remember(directory, file, "d2", "u-1")
    remember(directory, file, "d3", "u-2", "a-2")
    assert forget(directory, file, "u-1") == 2
    assert names(directory, "u-1") == names(directory, None, "a-1") == []
    assert names(directory, "u-2") == ["d3"]
    assert count(file, "device") == 1
    assert count(file, "owner") == 2


def test_a_device_that_is_anothers_too_stays_theirs(directory, file):
    remember(directory, file, "d1", "u-1", "a-1")
    remember(directory, file, "d1", "u-2")
    assert forget(directory, file, "u-1") == 1
    assert names(directory, "u-1") == []
    assert names(directory, "u-2") == ["d1"]


def test_who_is_not_known_is_forgotten_already(directory, file):
    assert forget(directory, file, "u-1") == 0


def test_a_user_who_comes_back_is_remembered_at_once(directory, file):
    remember(directory, file, "d1", "u-1")
    forget(directory, file, "u-1")
    remember(directory, file, "d1", "u-1")
    assert names(directory, "u-1") == ["d1"]


def test_users_are_stored_as_hashes_only(directory, file):
    remember(directory, file, "d1", "mallory@example.com", "anonymous-4711")
    with file.reading() as connection:
        stored = repr(connection.execute("SELECT * FROM owner").fetchall())
        ids = connection.execute("SELECT device_ids FROM device").fetchall()
    assert "mallory" not in stored
    assert "4711" not in stored
    assert [json.loads(text) for (text,) in ids] == [{"idfv": "d1"}]
