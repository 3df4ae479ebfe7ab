"""Kochava as the end of an Apache Beam pipeline: for more messages than one machine should send.

    from kochava_segment.beam import ReadFromSegmentArchive, WriteToKochava

    (pipeline
     | ReadFromSegmentArchive("s3://bucket/segment-logs/*.gz")
     | WriteToKochava(app_guid="koexample", max_rate=500, workers=8))

It needs the extra `beam`; docs/beam.md says what is promised and what is not.
"""

from __future__ import annotations

try:
    import apache_beam  # noqa: F401  # to say at once what is missing
except ModuleNotFoundError as error:
    if error.name != "apache_beam":
        raise
    raise ModuleNotFoundError(
        "Apache Beam pipelines need an extra: pip install 'kochava-segment[beam]'",
        name="apache_beam",
    ) from None

from kochava_segment.beam.archive import ReadFromSegmentArchive
from kochava_segment.beam.dry_run import DryRun
from kochava_segment.beam.results import FAILED_OUTPUTS, OUTPUTS
from kochava_segment.beam.selection import Selection
from kochava_segment.beam.settings import credentials_from_environment
from kochava_segment.beam.write import WriteToKochava

__all__ = [
    "FAILED_OUTPUTS",
    "OUTPUTS",
    "DryRun",
    "ReadFromSegmentArchive",
    "Selection",
    "WriteToKochava",
    "credentials_from_environment",
]
