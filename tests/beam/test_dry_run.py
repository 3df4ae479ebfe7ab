"""What a dry run tells, and that it stays small however odd an archive is."""

import json

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from kochava_segment.beam import DryRun, ReadFromSegmentArchive
from kochava_segment.beam import dry_run as module
from tests.beam.pipelines import LOCAL, TWO_PROCESSES
from tests.messages import ios


def report(messages, tmp_path, *flags, **options):
    pipeline = beam.Pipeline(options=PipelineOptions([LOCAL, *flags]))
    _ = (
        pipeline
        | (messages if isinstance(messages, beam.PTransform) else beam.Create(messages))
        | DryRun("koapp", **options)
        | beam.Map(json.dumps)
        | beam.io.WriteToText(str(tmp_path / "report"), shard_name_template="")
    )
    pipeline.run().wait_until_finish()
    return json.loads((tmp_path / "report").read_text())


def test_it_counts_by_event_outcome_and_warning(tmp_path):
    messages = [
        *[ios(context__ip="odd")] * 3,
        *[ios(event="Other")] * 2,
        ios(type="screen", name="Map"),
        ios(type="group"),
        ios(type=7),
        "text",
    ]
    found = report(messages, tmp_path, *TWO_PROCESSES)
    assert found["messages"] == 9
    assert found["outcomes"] == {"mapped": 5, "invalid": 2, "filtered": 1, "unsupported": 1}
    assert found["events"] == {
        "Level Up": {"mapped": 3},
        "Other": {"mapped": 2},
        "(group)": {"unsupported": 1},
        "(no type)": {"invalid": 1},
        "(screen)": {"filtered": 1},
        "(unreadable)": {"invalid": 1},
    }
    assert found["warnings"] == {"bad-ip": 3}
    assert {problem["reason"] for problem in found["problems"]} >= {"SCREENS_OFF"}


def test_it_maps_as_the_options_say(tmp_path):
    found = report([ios(type="screen", name="Map")], tmp_path, screens="named")
    assert found["outcomes"] == {"mapped": 1}


def test_an_empty_archive_has_a_report(tmp_path):
    assert report([], tmp_path)["messages"] == 0


def told(event, reason):
    return event, "invalid", [], reason, {"file": "f", "line": 1, "messageId": None}


def test_what_it_holds_is_bounded_and_nothing_goes_uncounted():
    tallies = module._Tallies()
    parts = []
    for part in range(2):
        tally = tallies.create_accumulator()
        for number in range(3_000):
            tallies.add_input(tally, told(f"e-{part}-{number}", f"r-{part}-{number}"))
        parts.append(tally)
    found = tallies.extract_output(tallies.merge_accumulators(parts))
    assert found["messages"] == 6_000
    assert len(found["events"]) <= 1_001
    assert len(found["problems"]) <= 201
    assert sum(problem["count"] for problem in found["problems"]) == 6_000
    assert all(len(problem["samples"]) <= 3 for problem in found["problems"])


def test_half_a_surrogate_pair_stops_no_run(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps(ios(event="\ud800", messageId="\ud800")) + "\n")
    found = report(ReadFromSegmentArchive(str(tmp_path / "in.jsonl")), tmp_path)
    assert list(found["events"]) == [r"\ud800"]
    assert found["problems"][0]["samples"][0]["messageId"] == r"\ud800"
