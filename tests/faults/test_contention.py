"""Two relays and ten writers on one file: everybody gets their turn, and nothing is sent twice."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from kochava_segment.emulator import Faults, KochavaEmulator
from tests.faults.processes import Sender, drained, relay_process, say
from tests.faults.traffic import DEVICES, Arrived
from tests.long import many

_LONGEST = 5.0  # seconds; a writer would be told after 30 that the file is locked


def _work_on_one_file(tmp_path, seconds, pause):
    path = tmp_path / "outbox.sqlite3"
    faults = Faults(latency=0.002)
    with (
        KochavaEmulator(keep=10**6, faults=faults, require_install=True) as kochava,
        ExitStack() as relays,
    ):
        for _ in range(2):
            relays.enter_context(relay_process(path, kochava.url, lease="30"))
        options = {"outbox": str(path), "endpoint": kochava.url, "relay": False}
        writers = [
            Sender(
                tmp_path,
                options=options,
                first=device,  # each writer is a device, so that its order is known
                step=DEVICES,
                seconds=seconds,
                pause=pause,
            )
            for device in range(DEVICES)
        ]
        for writer in writers:
            assert writer.end(seconds + 60) == 0, writer.errors
            assert writer.errors.startswith("longest "), writer.errors
        status = drained(path, kochava.url, lease=30)
        arrived = Arrived(kochava)
        acknowledged = [number for writer in writers for number in writer.acknowledged]
    longest = max(writer.longest for writer in writers)
    counts = sorted(len(writer.acknowledged) for writer in writers)
    say(
        f"{len(acknowledged)} messages in {seconds} s, {counts[0]} to {counts[-1]} a writer; "
        f"the longest enqueue took {longest:.3f} s"
    )
    assert sorted(arrived.numbers) == sorted(acknowledged)
    arrived.assert_in_order()
    assert status.states == {"delivered": len(acknowledged)}
    assert status.maybe_repeated == status.duplicates == 0
    assert longest < _LONGEST
    assert counts[0] > counts[-1] / 10  # nobody starves; how the machine shares its time is its own


def test_ten_writers_and_two_relays_share_a_file(tmp_path):
    _work_on_one_file(tmp_path, seconds=1, pause=0.02)


@pytest.mark.slow
def test_ten_writers_and_two_relays_share_a_file_for_minutes(tmp_path):
    _work_on_one_file(tmp_path, seconds=many(120), pause=0.02)
