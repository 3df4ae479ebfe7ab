"""A wall clock that jumps by days: waiting is measured on a clock that nobody can turn."""

from __future__ import annotations

import time

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.faults.processes import QUICK, Sender, stored
from tests.faults.sender import DAY
from tests.faults.traffic import Arrived, message

_MESSAGES = 60
_JUMPS = (3 * DAY, pytest.param(-3 * DAY, marks=pytest.mark.slow))


@pytest.mark.slow
@pytest.mark.parametrize("days", [0.5, 4_000])
def test_jumps_to_and_fro_neither_stall_nor_lose_nor_exhaust(tmp_path, days):
    path = tmp_path / "outbox.sqlite3"
    faults = Faults(error_rate=0.3, reset_before_reading=0.1, seed=4)
    with KochavaEmulator(keep=10**6, faults=faults) as kochava:
        retry = {**QUICK, "max_attempts": 40, "deadline": 30}
        options = {"outbox": str(path), "endpoint": kochava.url, "outbox_retry": retry}
        sender = Sender(
            tmp_path, options=options, count=_MESSAGES, pause=0.001, clock=days * DAY, then="flush"
        )
        began = time.monotonic()
        assert sender.end(30) == 0, sender.errors
        took = time.monotonic() - began
        assert sender.acknowledged == list(range(_MESSAGES))
        arrived = Arrived(kochava)
    assert sorted(arrived.numbers) == list(range(_MESSAGES))
    arrived.assert_in_order()
    states = {entry.state for entry in stored(path)}
    assert states <= {
        "delivered"
    }  # where a jump let them grow old, they are forgotten, and counted
    assert took < 15


@pytest.mark.parametrize("jump", _JUMPS)
def test_a_jump_does_not_change_when_a_back_off_is_over(tmp_path, monkeypatch, jump):
    path, true = tmp_path / "outbox.sqlite3", time.time
    retry = {"base": 1.0, "cap": 1.0, "deadline": 60}
    faults = Faults(script=("503",), retry_after=1)
    with (
        KochavaEmulator(faults=faults) as kochava,
        KochavaDestination(
            "koapp", endpoint=kochava.url, outbox=path, outbox_retry=retry
        ) as destination,
    ):
        began = time.monotonic()
        destination.enqueue(message(0))
        while kochava.received == 0:
            time.sleep(0.01)
        monkeypatch.setattr(time, "time", lambda: true() + jump)
        assert destination.flush(20).states == {"delivered": 1}
        assert 0.9 < time.monotonic() - began < 3


@pytest.mark.parametrize("jump", _JUMPS)
def test_a_jump_does_not_end_a_lease(tmp_path, monkeypatch, jump):
    path, true = tmp_path / "outbox.sqlite3", time.time
    with KochavaEmulator(faults=Faults(latency=1.0)) as kochava:
        with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as holding:
            holding.enqueue(message(0))
            while kochava.received == 0:
                time.sleep(0.01)
            monkeypatch.setattr(time, "time", lambda: true() + jump)
            with KochavaDestination("koapp", endpoint=kochava.url, outbox=path) as other:
                other.start_relay()
                status = other.flush(20)
        assert kochava.received == 1
        assert (status.states, status.maybe_repeated) == ({"delivered": 1}, 0)
