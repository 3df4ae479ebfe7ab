"""The Beam sink against `send_many`, and two worker processes against one: `python -m benchmarks.pipeline`.

Not one of the cases: it needs the extra `beam`, and an environment of its own because of that.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.case import Setting
from benchmarks.events import stream
from benchmarks.sink import described, running_sink

_DEVICES_OF_TEN = 10  # events a device
_LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def send_many(url: str, path: Path, concurrency: int) -> dict[str, float]:
    """Read as `kochava-segment send` does, map and send with one destination, in this process."""
    from kochava_segment import KochavaDestination  # noqa: PLC0415  # its start is not measured
    from kochava_segment.cli.messages import read_entries  # noqa: PLC0415

    began = time.perf_counter()
    with KochavaDestination("koexample", endpoint=url) as kochava:
        messages = (entry.message for entry in read_entries([str(path)]))
        outcomes = kochava.send_many(messages, concurrency)
        accepted = sum(outcome.kind.value == "accepted" for outcome in outcomes)
    return {"seconds": time.perf_counter() - began, "accepted": accepted}


def pipeline(url: str, path: Path, concurrency: int, *flags: str) -> dict[str, float]:
    """The same with a pipeline, in one process or in several."""
    import apache_beam as beam  # noqa: PLC0415
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415

    from kochava_segment.beam import ReadFromSegmentArchive, WriteToKochava  # noqa: PLC0415

    logging.getLogger().setLevel(logging.ERROR)
    began = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions([f"--runner={_LOCAL}", *flags])) as made:
        _ = (
            made
            | ReadFromSegmentArchive(str(path))
            | WriteToKochava("koexample", endpoint=url, concurrency=concurrency)
        )
    seconds = time.perf_counter() - began
    counters = made.result.metrics().query()["counters"]
    accepted = sum(one.result for one in counters if one.key.metric.name == "accepted")
    return {"seconds": seconds, "accepted": accepted}


def _processes(count: int) -> Callable[..., dict[str, float]]:
    flags = (f"--direct_num_workers={count}", "--direct_running_mode=multi_processing")

    def run(url: str, path: Path, concurrency: int) -> dict[str, float]:
        return pipeline(url, path, concurrency, *flags)

    return run


_CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    "send_many": send_many,
    "pipeline in this process": pipeline,
    "pipeline, 1 worker process": _processes(1),
    "pipeline, 2 worker processes": _processes(2),
}


def main() -> None:
    """Measure everything a few times, each turn in a process of its own, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, action="append", help="seconds; may be repeated")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        name, url = given.run
        print(json.dumps(_CONTENDERS[name](url, given.archive, given.concurrency)))
        return
    print(f"{given.events} events, {given.concurrency} at once, sink: {described()}")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "events.jsonl"
        setting = Setting(events_per_device=_DEVICES_OF_TEN)
        with archive.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in stream(setting, given.events))
        few = Path(folder) / "one.jsonl"
        few.write_text(archive.read_text(encoding="utf-8").partition("\n")[0] + "\n")
        for latency in given.latency or (0.0, 0.05):
            with running_sink(latency) as sink:
                # In turns, so that whatever disturbs one disturbs the others too.
                rounds = [
                    {name: _run(name, sink.url, archive, given) for name in _CONTENDERS}
                    for _ in range(given.runs)
                ]
                for name in _CONTENDERS:
                    started = _run(name, sink.url, few, given, expected=1)
                    _show(name, latency, given.events, rounds, started)


def _run(
    name: str, url: str, archive: Path, given: argparse.Namespace, expected: int | None = None
) -> float:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--run", name, url]
    command += ["--archive", str(archive), "--concurrency", str(given.concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["accepted"] != (given.events if expected is None else expected):
        raise RuntimeError(f"{name} lost or repeated events: {result}")
    return float(result["seconds"])


def _show(
    name: str, latency: float, events: int, rounds: list[dict[str, float]], started: float
) -> None:
    middle = statistics.median(one[name] for one in rounds)
    ratios = sorted(one[name] / one["send_many"] for one in rounds)
    by_one = statistics.median(one["pipeline, 1 worker process"] / one[name] for one in rounds)
    print(
        f"{latency * 1000:4.0f} ms  {name:30} {events / middle:8.0f} events/s"
        f"  {statistics.median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times send_many's time"
        f"  {by_one:5.2f} times 1 worker process  one event alone {started:5.2f} s"
    )


if __name__ == "__main__":
    main()
