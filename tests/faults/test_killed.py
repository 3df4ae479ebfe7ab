"""SIGKILL at random moments: nothing that was acknowledged is lost, and repetition is bounded."""

from __future__ import annotations

import random
import time

import pytest

from kochava_segment.emulator import Faults, KochavaEmulator
from tests.faults.processes import QUICK, Sender, drained, eventually, relay_process, say, stored
from tests.faults.traffic import DEVICES, Arrived
from tests.long import many

_LEASE = 0.5
_MOST_IN_FLIGHT = 256  # of a relay whose workers are few and quick


@pytest.fixture
def kochava():
    # Installs have to be first: what comes before is refused, and would be missed in the end.
    faults = Faults(latency=0.002)
    with KochavaEmulator(keep=10**6, faults=faults, require_install=True) as emulator:
        yield emulator


def _options(path, kochava, **more):
    return {
        "outbox": str(path),
        "endpoint": kochava.url,
        "lease": _LEASE,
        "outbox_retry": QUICK,
        **more,
    }


def _assert_nothing_lost(path, kochava, acknowledged, kills):
    status = drained(path, kochava.url)
    arrived = Arrived(kochava)
    assert status.states == {"delivered": len(set(arrived.numbers))}
    assert set(acknowledged) <= set(arrived.numbers)
    arrived.assert_in_order()
    perhaps_sent = [entry.maybe_sent for entry in stored(path)]
    assert len(arrived.repeated) <= status.maybe_repeated
    assert sum(arrived.repeated.values()) <= sum(perhaps_sent) <= kills * _MOST_IN_FLIGHT
    say(
        f"up to {kills} kills, {len(acknowledged)} acknowledged, {len(arrived.numbers)} arrived, "
        f"{sum(arrived.repeated.values())} twice, {status.maybe_repeated} perhaps twice"
    )


def _kill_senders(kills, path, kochava, tmp_path, chance):
    """Start a program that enqueues and sends, and kill it, over and over; gives what it was told."""
    acknowledged, following = [], 0
    for _ in range(kills):
        options = _options(path, kochava)
        sender = Sender(tmp_path, options=options, first=following, pause=0.0005)
        sender.wait_for(DEVICES)
        time.sleep(chance.uniform(0.0, 0.3))
        sender.kill()
        acknowledged += sender.acknowledged
        # The one that it may have been enqueuing is left out: nobody was told of it.
        following = acknowledged[-1] + 2
    return acknowledged


def _kill_relays(kills, path, kochava, tmp_path, chance):
    """Kill relays of their own, while one program enqueues; gives what it was told."""
    sender = Sender(tmp_path, options=_options(path, kochava, relay=False), pause=0.002)
    for _ in range(kills):
        before = kochava.counted
        with relay_process(path, kochava.url, lease=str(_LEASE)):
            eventually(lambda before=before: kochava.counted > before)
            time.sleep(chance.uniform(0.0, 0.3))
    sender.kill()
    return sender.acknowledged


def _kill_senders_beside_a_relay(kills, path, kochava, tmp_path, chance):
    """The same with a second relay on the file, which takes over what the killed ones had leased."""
    with relay_process(path, kochava.url, lease=str(_LEASE)):
        return _kill_senders(kills, path, kochava, tmp_path, chance)


@pytest.mark.parametrize("kill", [_kill_senders, _kill_relays])
def test_what_was_acknowledged_before_a_kill_arrives(tmp_path, kochava, kill):
    path = tmp_path / "outbox.sqlite3"
    acknowledged = kill(2, path, kochava, tmp_path, random.Random(1))
    _assert_nothing_lost(path, kochava, acknowledged, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [_kill_senders, _kill_relays, _kill_senders_beside_a_relay])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_before_hundreds_of_kills_arrives(tmp_path, kochava, kill, seed):
    path = tmp_path / "outbox.sqlite3"
    kills = many(100)
    acknowledged = kill(kills, path, kochava, tmp_path, random.Random(seed))
    _assert_nothing_lost(path, kochava, acknowledged, kills=kills + 1)


def test_what_a_killed_relay_had_in_flight_is_sent_when_its_lease_has_run_out(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with KochavaEmulator(faults=Faults(latency=3600)) as hanging:
        sender = Sender(tmp_path, options=_options(path, hanging), count=1, then="wait")
        eventually(lambda: hanging.received)
        sender.kill()
    killed_at = time.monotonic()
    with KochavaEmulator() as kochava:
        status = drained(path, kochava.url, lease=_LEASE)
        took = time.monotonic() - killed_at
        assert Arrived(kochava).numbers == [0]
    assert status.maybe_repeated == 1
    say(f"sent again {took:.2f} s after the kill, with a lease of {_LEASE} s")
    assert took < _LEASE + 2
