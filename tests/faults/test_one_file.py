"""One file in several hands of one process, while other processes come and go."""

from __future__ import annotations

import os
import threading

import pytest

from kochava_segment import KochavaDestination
from tests.cli.process import run
from tests.faults.processes import stored_numbers
from tests.faults.traffic import message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


def _another_process_opens_and_closes(path):
    # It deletes the -wal file if it finds nobody's lock.
    done = run("outbox", "status", "--outbox", path)
    assert done.returncode == 0, done.stderr


def test_a_second_destination_on_a_file_takes_no_locks_from_the_first(path):
    with KochavaDestination("koapp", outbox=path, relay=False) as first:
        first.enqueue(message(0))
        with KochavaDestination("koapp", outbox=path, relay=False) as second:
            second.enqueue(message(1))
        _another_process_opens_and_closes(path)
        first.enqueue(message(2))
        done = run("outbox", "export", "--outbox", path)  # as others see it
        assert len(done.stdout.splitlines()) == 3
    assert stored_numbers(path) == [0, 1, 2]


def test_destinations_that_open_a_new_file_at_the_same_time_all_keep_theirs(path):
    destinations = [KochavaDestination("koapp", outbox=path, relay=False) for _ in range(8)]
    barrier = threading.Barrier(len(destinations))

    def enqueue(number):
        barrier.wait(10)
        destinations[number].enqueue(message(number))

    threads = [threading.Thread(target=enqueue, args=(n,)) for n in range(len(destinations))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    _another_process_opens_and_closes(path)
    for number, destination in enumerate(destinations):
        destination.enqueue(message(10 + number))
    for destination in destinations:
        destination.close()
    assert sorted(stored_numbers(path)) == [*range(8), *range(10, 18)]


def test_a_file_stays_the_same_when_the_process_changes_its_directory(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with KochavaDestination("koapp", outbox=path.name, relay=False) as destination:
        destination.enqueue(message(0))
        os.chdir(elsewhere)
        destination.outbox.close()  # as a fork does
        destination.enqueue(message(1))
        assert destination.flush(0).pending == 2
    assert list(elsewhere.iterdir()) == []
    assert stored_numbers(path) == [0, 1]
