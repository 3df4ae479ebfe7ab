"""Replays an archive of Segment messages, keeps what failed, and leaves out what a shop does not want.

    python replay_archive.py --input 'archive/*.gz' --failed failed/part --runner FnApiRunner

All other options are Beam's. `kochava-segment replay` does the same where nothing is to be changed on
the way.
"""

# Apache Beam, an extra of its own, is not installed where types are checked.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from kochava_segment.beam import FAILED_OUTPUTS, ReadFromSegmentArchive, WriteToKochava
from kochava_segment.entries import Entry


def without_tests(entry: Entry) -> Iterator[Entry]:
    """All but the messages of this shop's own testers."""
    message: Any = entry.message
    if not isinstance(message, dict) or not str(message.get("userId")).startswith("test-"):
        yield entry


def say(count: int) -> None:
    """Print how many Kochava took."""
    print(f"{count} accepted")


def main() -> None:
    """Run the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--failed", required=True)
    parser.add_argument("--app-guid", required=True)
    parser.add_argument("--endpoint", default="https://control.kochava.com")
    given, flags = parser.parse_known_args()
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        outputs = (
            pipeline
            | ReadFromSegmentArchive(given.input)
            | "Without tests" >> beam.FlatMap(without_tests)
            | WriteToKochava(given.app_guid, endpoint=given.endpoint, max_rate=500, workers=1)
        )
        _ = (
            [outputs[name] for name in FAILED_OUTPUTS]
            | beam.Flatten()
            | beam.Map(json.dumps)
            | beam.io.WriteToText(given.failed, file_name_suffix=".jsonl")
        )
        _ = outputs.accepted | beam.combiners.Count.Globally() | beam.Map(say)


if __name__ == "__main__":
    main()
