"""A stream, as far as it can be had without a broker: Beam's test stream."""

import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam import OUTPUTS, WriteToKochava
from tests.beam.pipelines import RETRY, messages_of
from tests.messages import ios

# Beam's runner for streams on one machine is written in Python and slow; it tells of coders.
pytestmark = pytest.mark.filterwarnings("default")
FLAGS = ["--runner=BundleBasedDirectRunner", "--streaming"]


def as_line(result, tag, time=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
    end = None if window.end > Timestamp(10**9) else float(window.end)
    return json.dumps([tag, float(time), end, result["messageId"]])


def stream(steps, tmp_path, kochava, window=None, **keywords):
    """Run a test stream into Kochava; gives (tag, time, end of its window, messageId) of each."""
    pipeline = beam.Pipeline(options=PipelineOptions(FLAGS))
    keywords = {"app_guid": "koapp", "endpoint": kochava.url, "retry": RETRY, **keywords}
    outputs = pipeline | steps | WriteToKochava(**keywords)
    for tag in OUTPUTS:
        results = outputs[tag]
        if window is not None:
            results = results | f"Window {tag}" >> beam.WindowInto(window)
        path = str(tmp_path / tag)
        _ = results | tag >> beam.Map(as_line, tag) | f"Append {tag}" >> beam.Map(append, path)
    pipeline.run().wait_until_finish()
    return [
        tuple(json.loads(line))
        for tag in OUTPUTS
        if (tmp_path / tag).exists()
        for line in (tmp_path / tag).read_text().splitlines()
    ]


def append(line, path):
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def test_a_stream_is_sent_as_it_comes_without_repetitions(tmp_path, kochava_emulator):
    first, second = ios(messageId="1"), ios(messageId="2", timestamp="2026-03-20T18:00:00Z")
    steps = (
        test_stream.TestStream()
        .advance_watermark_to(0)
        .add_elements([first, ios(messageId="g", type="group")])
        .advance_watermark_to(100)
        .add_elements([first])
        .add_elements([second])
        .advance_watermark_to_infinity()
    )
    found = stream(steps, tmp_path, kochava_emulator)
    assert sorted((tag, name) for tag, _, _, name in found) == [
        ("accepted", "1"),
        ("accepted", "2"),
        ("duplicate", "1"),
        ("unsupported", "g"),
    ]
    assert len(kochava_emulator.requests) == 2


def test_a_message_may_come_again_after_the_window(tmp_path, kochava_emulator):
    steps = (
        test_stream.TestStream()
        .add_elements([ios()])
        .advance_processing_time(200)
        .add_elements([ios()])
    )
    steps = steps.advance_watermark_to_infinity()
    found = stream(steps, tmp_path, kochava_emulator, dedup_window=0.001)
    assert [(tag, name) for tag, _, _, name in found] == [("accepted", "m-1")] * 2
    assert len(kochava_emulator.requests) == 2


def test_what_comes_together_is_put_in_order(tmp_path, kochava_emulator):
    messages = messages_of(devices=2, each=4)
    steps = test_stream.TestStream().add_elements(messages).advance_watermark_to_infinity()
    found = stream(steps, tmp_path, kochava_emulator)
    assert len(found) == 8
    of_device = {}
    for request in kochava_emulator.accepted:
        told = of_device.setdefault(request.payload["kochava_device_id"], [])
        told.append((request.payload["action"] != "install", request.payload["data"]["usertime"]))
    assert all(told == sorted(told) for told in of_device.values())


def test_results_keep_the_times_of_their_messages(tmp_path, kochava_emulator):
    times = (5, 15, 25)
    steps = test_stream.TestStream().add_elements(
        [TimestampedValue(ios(messageId=str(time)), time) for time in times]
    )
    steps = steps.advance_watermark_to(30).advance_watermark_to_infinity()
    found = stream(steps, tmp_path, kochava_emulator, window=FixedWindows(10))
    assert sorted((float(name), time, end) for _, time, end, name in found) == [
        (5.0, 5.0, 10.0),
        (15.0, 15.0, 20.0),
        (25.0, 25.0, 30.0),
    ]
