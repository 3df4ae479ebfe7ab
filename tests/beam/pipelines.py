"""Pipelines as users build them, run on this machine, and what came out of them."""

import json
from collections import Counter

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from attrs import frozen

from kochava_segment.beam import OUTPUTS, WriteToKochava
from tests.messages import ios

LOCAL = "--runner=FnApiRunner"
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
RETRY = {"max_attempts": 3, "base": 0.01}


@frozen
class Ran:
    """What came out of a pipeline: (the output's name, the result) of each message, and metrics."""

    results: list
    counters: dict
    distributions: dict

    def of(self, tag):
        return [result for output, result in self.results if output == tag]

    @property
    def counts(self):
        return Counter(output for output, _ in self.results)


def run(messages, tmp_path, kochava, *flags, behind=None, **keywords):
    """Send messages, or what a transform reads; a transform may stand behind the outputs."""
    source = messages if isinstance(messages, beam.PTransform) else beam.Create(list(messages))
    pipeline = beam.Pipeline(options=PipelineOptions([LOCAL, *flags]))
    keywords = {"app_guid": "koapp", "endpoint": kochava.url, "retry": RETRY, **keywords}
    outputs = pipeline | "Read" >> source | WriteToKochava(**keywords)
    results = [outputs[tag] | tag >> beam.Map(as_line, tag) for tag in OUTPUTS] | beam.Flatten()
    if behind is not None:
        results = results | "Behind" >> behind
    prefix = tmp_path / "results"
    _ = results | "Write" >> beam.io.WriteToText(str(prefix))
    result = pipeline.run()
    result.wait_until_finish()
    lines = [
        json.loads(line)
        for path in sorted(tmp_path.glob("results-*-of-*"))
        for line in path.read_text().splitlines()
    ]
    return Ran(
        results=[tuple(line) for line in lines],
        counters=metrics(result, "counters"),
        distributions=metrics(result, "distributions"),
    )


def as_line(result, tag):
    return json.dumps([tag, result])


def metrics(result, kind):
    return {
        one.key.metric.name: one.result
        for one in result.metrics().query()[kind]
        if one.key.metric.namespace == "kochava"
    }


def messages_of(devices, each, **changes):
    """Messages of some devices, each of which has the same number."""
    return [
        ios(
            messageId=f"m-{device}-{number}",
            event="Application Installed" if number == each - 1 else "Level Up",
            timestamp=f"2026-03-20T18:{number // 60:02}:{number % 60:02}.{number % 7}Z",
            context__device__id=f"7F2A1C5E-0B1D-4E0B-9E6F-{device:012X}",
            **changes,
        )
        for number in reversed(range(each))
        for device in range(devices)
    ]


def device_and_time(request):
    data = request.payload["data"]
    return request.payload["kochava_device_id"], (request.payload["action"], data["usertime"])
