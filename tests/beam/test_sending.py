"""What a worker process does while it sends."""

import logging
import pickle

from kochava_segment.beam import sending
from kochava_segment.beam.records import Record
from kochava_segment.beam.sending import Send, _spread_out
from kochava_segment.beam.settings import Settings
from kochava_segment.emulator import Faults
from kochava_segment.entries import Entry
from tests.beam.pipelines import messages_of, run
from tests.messages import ios


def test_the_threads_of_a_process_have_one_destination_which_the_last_closes(kochava_emulator):
    settings = Settings.checked({"app_guid": "koapp", "endpoint": kochava_emulator.url}, None, 4)
    pickled = pickle.dumps(Send(settings, batch_size=10))
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    first.setup()
    second.setup()
    assert first._sender is second._sender
    destination = first._sender._destination
    first.teardown()
    assert second._sender._destination is destination
    second.teardown()
    assert second._sender._destination is None


def test_a_worker_tells_how_far_it_is(tmp_path, kochava_emulator, monkeypatch, caplog):
    monkeypatch.setattr(sending, "_SAY_EVERY", 0.0)
    caplog.set_level(logging.INFO)
    run(messages_of(devices=3, each=4), tmp_path, kochava_emulator)
    told = [text for text in caplog.messages if text.startswith("kochava-segment worker ")]
    assert len(told) == 12
    assert ": accepted 12; " in told[-1]
    assert told[-1].endswith(" a second")


def test_latency_and_attempts_are_distributions(tmp_path, kochava_emulator):
    kochava_emulator.faults = Faults(latency=0.02, script=("503",))
    ran = run(messages_of(devices=1, each=3), tmp_path, kochava_emulator)
    attempts, latency = ran.distributions["attempts"], ran.distributions["latency_ms"]
    assert (attempts.count, attempts.sum, attempts.max) == (3, 4, 2)
    assert latency.count == 3
    assert latency.min >= 20


def test_the_messages_of_each_device_are_spread_over_a_batch():
    records = {
        device: [
            Record.of(Entry(line=n, file=device, message=ios(messageId=f"{device}{n}")), 0)
            for n in range(count)
        ]
        for device, count in (("a", 4), ("b", 2), ("c", 1))
    }
    spread = [record.message["messageId"] for _, record in _spread_out(records)]
    assert spread == ["a0", "b0", "a1", "c0", "a2", "b1", "a3"]
