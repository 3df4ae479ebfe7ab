"""What becomes of messages in a pipeline, on one process and on two, against the emulator."""

import json
import math
import time
from collections import Counter
from datetime import datetime, timezone
from uuid import UUID

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from hypothesis import given

from kochava_segment.beam import FAILED_OUTPUTS, OUTPUTS, ReadFromSegmentArchive
from kochava_segment.beam.records import Record, _plain_device_id, device_key
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.entries import Entry
from kochava_segment.mapping.identifiers import find_kochava_device_id
from kochava_segment.mapping.message import Message
from kochava_segment.options import Options
from tests.beam.pipelines import TWO_PROCESSES, device_and_time, messages_of, run
from tests.messages import IDFV, ios
from tests.strategies import with_anything_inside

MODES = pytest.mark.parametrize("flags", [(), TWO_PROCESSES], ids=["in-memory", "two-processes"])


def test_each_outcome_has_its_output_with_reason_and_message(tmp_path, kochava_emulator):
    kochava_emulator.faults = Faults(
        script=("success-zero", *["503"] * 3, *["half-answer"] * 3, "503")
    )
    order = [("rejected", "0"), ("exhausted", "1"), ("ambiguous", "2"), ("accepted", "3")]
    sent = [ios(messageId=kind, timestamp=f"2026-03-20T18:00:0{at}Z") for kind, at in order]
    others = [
        ios(messageId="filtered", integrations={"All": False}),
        ios(messageId="invalid", event=""),
        ios(messageId="unsupported", type="group"),
        ios(messageId="accepted", timestamp="2026-03-20T18:00:09Z"),
    ]
    ran = run([*sent, *others, "no message"], tmp_path, kochava_emulator, concurrency=1)
    assert ran.counts == {**dict.fromkeys(OUTPUTS, 1), "invalid": 2}
    for output, result in ran.results:
        assert result["outcome"] == output
        if output == "accepted":
            assert result["messageId"] == "accepted"
            assert "message" not in result
            assert result["receipt"] | {"elapsed": 0} == {
                "action": "event",
                "status": 200,
                "attempts": 2,
                "elapsed": 0,
                "maybe_repeated": False,
            }
        else:
            assert result["reason"]
    for message in [*sent, *others][:-1]:
        if message["messageId"] != "accepted":
            (result,) = (one for _, one in ran.results if one["messageId"] == message["messageId"])
            assert result.get("message") == message
    assert ran.counters["accepted"] == 1
    assert ran.counters["duplicate"] == 1
    assert ran.counters["invalid"] == 2


@MODES
def test_a_device_keeps_its_order_however_the_input_lies(tmp_path, kochava_emulator, flags):
    kochava_emulator.faults = Faults(latency=0.002)
    messages = messages_of(devices=12, each=9)
    for shard in range(5):  # a device's messages are in all files
        lines = "".join(json.dumps(message) + "\n" for message in messages[shard::5])
        (tmp_path / f"shard-{shard}.jsonl").write_text(lines)
    archive = ReadFromSegmentArchive(str(tmp_path / "shard-*.jsonl"))
    ran = run(archive, tmp_path, kochava_emulator, *flags, batch_size=20)
    assert ran.counts == {"accepted": 108}
    of_device = {}
    for request in kochava_emulator.accepted:
        device, told = device_and_time(request)
        of_device.setdefault(device, []).append(told)
    assert len(of_device) == 12
    for told in of_device.values():
        assert [action for action, _ in told] == ["install", *["event"] * 8]
        times = [time for _, time in told[1:]]
        assert times == sorted(times)


def test_equal_times_keep_the_order_of_the_file(tmp_path, kochava_emulator):
    names = [f"Step {number}" for number in range(12)]
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps(ios(event=name, messageId=name)) + "\n" for name in names)
    )
    run(ReadFromSegmentArchive(str(tmp_path / "in.jsonl")), tmp_path, kochava_emulator)
    assert [one.payload["data"]["event_name"] for one in kochava_emulator.accepted] == names


def test_fractions_of_a_second_are_an_order(tmp_path, kochava_emulator):
    times = ["56.9", "56.125", "56.5"]
    messages = [
        ios(event=time, messageId=time, timestamp=f"2026-03-20T18:06:{time}Z") for time in times
    ]
    run(messages, tmp_path, kochava_emulator)
    sent = [one.payload["data"]["event_name"] for one in kochava_emulator.accepted]
    assert sent == sorted(times)


@MODES
def test_a_message_that_is_there_twice_is_sent_once(tmp_path, kochava_emulator, flags):
    messages = messages_of(devices=6, each=3)
    ran = run([*messages, *messages[:7]], tmp_path, kochava_emulator, *flags)
    assert ran.counts == {"accepted": 18, "duplicate": 7}
    assert len(kochava_emulator.requests) == 18


def test_messages_without_an_id_are_no_duplicates_of_each_other(tmp_path, kochava_emulator):
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps(ios(messageId=None)) + "\n") * 3)
    ran = run(ReadFromSegmentArchive(str(path)), tmp_path, kochava_emulator)
    assert ran.counts == {"accepted": 3}


def test_messages_without_a_device_do_not_wait_for_each_other(tmp_path, kochava_emulator):
    message = {"type": "track", "event": "A", "context": {}}
    keys = {
        device_key(Record.of(Entry(line=number, file="f", message=message), 0), message, Options())
        for number in range(3)
    }
    assert len(keys) == 3
    ran = run([message], tmp_path, kochava_emulator)
    assert ran.counts == {"invalid": 1}


@given(with_anything_inside())
def test_a_device_is_the_one_that_requests_name(message):
    found = _plain_device_id(message)
    assert found in ("", find_kochava_device_id(Message(message, Options())))


def test_a_device_that_kochavas_own_options_name_wins():
    options = {"Kochava": {"kochavaDeviceId": "K-1"}}
    messages = [
        (ios(), IDFV),
        (ios(integrations={"All": True}), IDFV),
        (ios(integrations=options), "K-1"),
        (ios(context__device__id="UNKNOWN_ID"), "a-42"),
        (ios(context__device__id=" "), "a-42"),
        (ios(context__device=7), "a-42"),
        (ios(integrations=7), IDFV),
    ]
    for message, key in messages:
        record = Record.of(Entry(line=1, file="f", message=message), 0)
        assert device_key(record, message, Options()) == key


class _Text(str):
    __slots__ = ()


JSON_VALUES = [2**70, math.nan, -0.0, 1e-7, None, "\ud800", {"a": [1, None]}]
OTHER_VALUES = [(1, 2), UUID(int=1), _Text("x"), datetime(2026, 3, 20, tzinfo=timezone.utc)]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        *((1, value) for value in JSON_VALUES),
        *((0, value) for value in (*JSON_VALUES, *OTHER_VALUES)),
    ],
    ids=repr,
)
def test_a_message_arrives_as_it_was(value, line):
    message = ios(properties__x=value)
    arrived = Record.of(Entry(line=line, file="f", message=message), 0).message
    found = arrived["properties"].pop("x")
    assert repr(found) == repr(value)
    assert type(found) is type(value)
    assert arrived == {**message, "properties": {"level": "3"}}


def test_what_failed_can_be_fed_in_again(tmp_path, kochava_emulator):
    kochava_emulator.faults = Faults(error_rate=1)
    messages = messages_of(devices=3, each=2)
    first = run(messages, tmp_path, kochava_emulator)
    assert first.counts == {"exhausted": 6}
    failed = tmp_path / "failed.jsonl"
    failed.write_text("".join(json.dumps(one) + "\n" for one in first.of("exhausted")))
    kochava_emulator.faults = Faults()
    (tmp_path / "2").mkdir()
    again = run(first.of("exhausted"), tmp_path / "2", kochava_emulator)
    assert again.counts == {"accepted": 6}
    (tmp_path / "3").mkdir()
    of_file = run(ReadFromSegmentArchive(str(failed)), tmp_path / "3", kochava_emulator)
    assert of_file.counts == {"accepted": 6}


def test_a_bundle_that_comes_again_to_a_process_is_not_sent_again(tmp_path, kochava_emulator):
    kochava_emulator.faults = Faults(script=("success-zero",))
    messages = messages_of(devices=4, each=5)
    again = "--direct_runner_bundle_repeat=2"
    ran = run(messages, tmp_path, kochava_emulator, again)
    assert ran.counts == {"accepted": 19, "rejected": 1}
    assert len(kochava_emulator.requests) == 20


def fail_on_accepted(line):
    if json.loads(line)[0] == "accepted":
        raise RuntimeError("a step of the user's own fails")
    return line


def test_a_step_behind_the_sink_fails_without_repeating_sends(tmp_path, kochava_emulator):
    messages = messages_of(devices=4, each=5)
    with pytest.raises(RuntimeError, match="a step of the user's own fails"):
        run(messages, tmp_path, kochava_emulator, behind=beam.Map(fail_on_accepted))
    ids = Counter(one.payload["data"]["usertime"] for one in kochava_emulator.accepted)
    assert ids.total() == 20, "all were sent before, and once"


@MODES
def test_an_endpoint_that_comes_and_goes_costs_nothing(tmp_path, kochava_emulator, flags):
    kochava_emulator.faults = Faults(error_rate=0.3, reset_before_reading=0.1, seed=7)
    messages = messages_of(devices=20, each=10)
    ran = run(
        messages,
        tmp_path,
        kochava_emulator,
        *flags,
        retry={"max_attempts": 30, "base": 0.001, "cap": 0.02},
    )
    assert ran.counts == {"accepted": 200}
    assert len(kochava_emulator.accepted) == 200


def test_a_storm_of_429_slows_down_and_loses_nothing(tmp_path, kochava_emulator):
    kochava_emulator.faults = Faults(script=("429",) * 10)
    messages = messages_of(devices=20, each=2)
    ran = run(messages, tmp_path, kochava_emulator, retry={"max_attempts": 50, "base": 0.01})
    assert ran.counts == {"accepted": 40}
    assert len(kochava_emulator.accepted) == 40
    assert len(kochava_emulator.requests) == 50


@MODES
def test_the_rate_is_that_of_all_together(tmp_path, kochava_emulator, flags):
    began = time.monotonic()
    ran = run(messages_of(devices=60, each=2), tmp_path, kochava_emulator, *flags, max_rate=60)
    assert ran.counts == {"accepted": 120}
    assert time.monotonic() - began > 120 / 60 - 0.2


def test_requests_are_signed_with_the_workers_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("KOCHAVA_SEGMENT_API_KEY", "key-1")
    monkeypatch.setenv("KOCHAVA_SEGMENT_API_SECRET", "secret-1")
    with KochavaEmulator(api_key="key-1", api_secret="secret-1") as kochava:
        ran = run([ios()], tmp_path, kochava, *TWO_PROCESSES)
        assert ran.counts == {"accepted": 1}
        (tmp_path / "2").mkdir()
        ran = run([ios()], tmp_path / "2", kochava, credentials=wrong_credentials)
        assert ran.counts == {"rejected": 1}
        assert "API key" in ran.of("rejected")[0]["reason"]


def wrong_credentials():
    return "key-1", "another-secret"


def with_window(line, window=beam.DoFn.WindowParam):
    return json.dumps([*json.loads(line), float(window.end)])


def test_results_of_windows_keep_the_times_of_their_messages(tmp_path, kochava_emulator):
    times = {"early": 5, "again": 25, "late": 25, "invalid": 15}
    names = {"again": "early"}
    messages = [
        TimestampedValue(
            ios(messageId=names.get(name, name), event=name * (name != "invalid")), time
        )
        for name, time in times.items()
    ]
    source = beam.Create(messages) | "In" >> beam.WindowInto(FixedWindows(10))
    behind = beam.WindowInto(FixedWindows(10)) | beam.Map(with_window)
    ran = run(source, tmp_path, kochava_emulator, behind=behind)
    assert sorted((result["messageId"], tag, end) for tag, result, end in ran.results) == [
        ("early", "accepted", 10.0),
        ("early", "duplicate", 30.0),
        ("invalid", "invalid", 20.0),
        ("late", "accepted", 30.0),
    ]


def test_failed_outputs_are_those_to_look_at():
    assert set(FAILED_OUTPUTS) == set(OUTPUTS) - {"accepted", "filtered", "duplicate"}
