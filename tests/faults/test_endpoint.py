"""Endpoints that are down, for long or not, that flap, whose name is unknown, or that do all wrong."""

from __future__ import annotations

import time

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.cli.process import run
from tests.delivery.raw_server import unused_port
from tests.faults.processes import QUICK, drained, eventually, say, stored
from tests.faults.traffic import Arrived, message, number_of
from tests.long import many

_MESSAGES = 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


def _enqueue(destination, count=_MESSAGES):
    destination.enqueue_many([message(number) for number in range(count)])


def test_an_endpoint_that_is_down_for_longer_than_the_budget_costs_a_command(path):
    port = unused_port()
    retry = {**QUICK, "max_attempts": 3}
    endpoint = f"http://127.0.0.1:{port}"
    with KochavaDestination(
        "koapp", endpoint=endpoint, outbox=path, outbox_retry=retry
    ) as destination:
        _enqueue(destination)
        assert destination.flush(20).states == {"exhausted": _MESSAGES}
        assert all(entry.reason and entry.attempts == 3 for entry in stored(path))
        with KochavaEmulator(port, require_install=True) as kochava:
            done = run("outbox", "retry", "--all", "--outbox", path)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith(f"{_MESSAGES} requests")
            status = destination.flush(20)
            assert (status.states, status.maybe_repeated) == ({"delivered": _MESSAGES}, 0)
            Arrived(kochava).assert_in_order()


def test_an_endpoint_that_is_down_for_less_costs_nothing(path):
    port = unused_port()
    endpoint = f"http://127.0.0.1:{port}"
    with KochavaDestination(
        "koapp", endpoint=endpoint, outbox=path, outbox_retry=QUICK
    ) as destination:
        _enqueue(destination)
        assert destination.flush(1).states == {"waiting": _MESSAGES}
        with KochavaEmulator(port) as kochava:
            status = destination.flush(20)
            assert (status.states, status.maybe_repeated) == ({"delivered": _MESSAGES}, 0)
            arrived = Arrived(kochava)
            assert sorted(arrived.numbers) == list(range(_MESSAGES))
            arrived.assert_in_order()


def test_an_endpoint_that_comes_and_goes_gets_everything_in_order(path):
    port, numbers = unused_port(), []
    endpoint = f"http://127.0.0.1:{port}"
    with KochavaDestination(
        "koapp", endpoint=endpoint, outbox=path, outbox_retry=QUICK
    ) as destination:
        for number in range(300):
            destination.enqueue(message(number))
        for _ in range(5):
            with KochavaEmulator(port, faults=Faults(latency=0.01)) as kochava:
                eventually(lambda kochava=kochava: kochava.counted >= 20)
            numbers += map(number_of, kochava.accepted)
            time.sleep(0.1)
        with KochavaEmulator(port) as kochava:
            status = destination.flush(20)
        numbers += map(number_of, kochava.accepted)
    assert status.states == {"delivered": 300}
    assert set(numbers) == set(range(300))
    assert len(numbers) - 300 <= sum(entry.maybe_sent for entry in stored(path))
    for device in range(10):
        first = list(dict.fromkeys(number for number in numbers if number % 10 == device))
        assert first == sorted(first)


def test_a_name_that_nobody_knows_costs_nothing_once_the_endpoint_is_mended(path):
    with KochavaDestination(
        "koapp", endpoint="https://kochava.invalid", outbox=path, outbox_retry=QUICK
    ) as destination:
        _enqueue(destination, 5)
        eventually(lambda: all(entry.attempts for entry in stored(path)))
    assert {entry.state for entry in stored(path)} == {"waiting"}
    with KochavaEmulator() as kochava:
        status = drained(path, kochava.url)
        assert (status.states, status.maybe_repeated) == ({"delivered": 5}, 0)


def _everything_at_once(path, count):
    faults = Faults(
        error_rate=0.1,
        reset_before_reading=0.06,
        reset_after_reading=0.06,
        half_answer=0.06,
        trickle=0.06,
        trickle_delay=0.002,
        success_zero=0.05,
        latency=0.001,
        seed=11,
    )
    with KochavaEmulator(keep=10**6, faults=faults) as kochava:
        with KochavaDestination(
            "koapp",
            endpoint=kochava.url,
            outbox=path,
            outbox_retry={"base": 0.01, "cap": 0.1, "max_attempts": 6, "maybe_sent": "retry"},
        ) as destination:
            _enqueue(destination, count)
            status = destination.flush(120)
        arrived = Arrived(kochava)
    say(f"{count} messages: {dict(status.states)}, {len(arrived.numbers)} arrived")
    found = stored(path)
    assert sorted(int(entry.message_id[1:]) for entry in found) == list(range(count))
    assert {entry.state for entry in found} <= {"delivered", "rejected", "exhausted", "ambiguous"}
    here = set(arrived.numbers)
    for entry in found:
        number = int(entry.message_id[1:])
        if entry.state == "delivered":
            assert number in here
        else:
            assert entry.reason
            # Certain not to have been counted, unless it says that this is not certain.
            assert entry.state == "ambiguous" or number not in here
        assert arrived.repeated.get(number, 0) <= entry.maybe_sent
    assert {"delivered", "rejected"} <= {entry.state for entry in found}


def test_every_message_ends_somewhere_when_all_goes_wrong_at_once(path):
    _everything_at_once(path, 300)


@pytest.mark.slow
def test_each_of_thousands_of_messages_ends_somewhere_when_all_goes_wrong_at_once(path):
    _everything_at_once(path, max(500, many(4_000)))
