"""The Beam sink against `send_many`, and two worker processes against one: `python -m benchmarks.pipeline`.

Not one of the cases: it needs the extra `beam`, and an environment of its own because of that. Two
things are compared: a pipeline with `send_many`, each in a single process, on one core, with the sink
on the others; and two worker processes of a pipeline with one, on all the cores that there are.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import cores
from benchmarks.case import Setting
from benchmarks.events import stream
from benchmarks.sink import described, running_sink

_EVENTS_PER_DEVICE = 10
_FILES = 8
_LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def send_many(url: str, folder: Path, concurrency: int) -> dict[str, float]:
    """Read as `kochava-segment send` does, map and send with one destination, in this process."""
    from kochava_segment import KochavaDestination  # noqa: PLC0415  # its start is not measured
    from kochava_segment.cli.messages import read_entries  # noqa: PLC0415

    began, cpu = time.perf_counter(), _cpu()
    with KochavaDestination("koexample", endpoint=url) as kochava:
        files = sorted(map(str, folder.iterdir()))
        messages = (entry.message for entry in read_entries(files))
        outcomes = kochava.send_many(messages, concurrency)
        accepted = sum(outcome.kind.value == "accepted" for outcome in outcomes)
    return {
        "seconds": time.perf_counter() - began,
        "cpu": _cpu() - cpu,
        "accepted": accepted,
    }


def pipeline(url: str, folder: Path, concurrency: int, *flags: str) -> dict[str, float]:
    """The same with a pipeline, in one process or in several."""
    import apache_beam as beam  # noqa: PLC0415
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415

    from kochava_segment.beam import ReadFromSegmentArchive, WriteToKochava  # noqa: PLC0415

    logging.getLogger().setLevel(logging.ERROR)
    began, cpu = time.perf_counter(), _cpu()
    with beam.Pipeline(options=PipelineOptions([f"--runner={_LOCAL}", *flags])) as made:
        _ = (
            made
            | ReadFromSegmentArchive(str(folder / "*"))
            | WriteToKochava("koexample", endpoint=url, concurrency=concurrency)
        )
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    counters = made.result.metrics().query()["counters"]
    accepted = sum(one.result for one in counters if one.key.metric.name == "accepted")
    return {"seconds": seconds, "cpu": cpu, "accepted": accepted}


def _cpu() -> float:
    """Seconds of CPU time of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _processes(count: int) -> Callable[..., dict[str, float]]:
    flags = (f"--direct_num_workers={count}", "--direct_running_mode=multi_processing")

    def run(url: str, folder: Path, concurrency: int) -> dict[str, float]:
        return pipeline(url, folder, concurrency, *flags)

    return run


_SEND_MANY, _PIPELINE = "send_many", "pipeline in this process"
_ONE, _TWO = "pipeline, 1 worker process", "pipeline, 2 worker processes"
_CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    _SEND_MANY: send_many,
    _PIPELINE: pipeline,
    _ONE: _processes(1),
    _TWO: _processes(2),
}
_ON_ONE_CORE = {_SEND_MANY, _PIPELINE}

_Rounds = list[dict[str, dict[str, float]]]


def main() -> None:
    """Measure everything a few times, each turn in a process of its own, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, action="append", help="seconds; may be repeated")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        name, url = given.run
        if name in _ON_ONE_CORE:
            cores.pin_to_first()
        print(json.dumps(_CONTENDERS[name](url, given.archive, given.concurrency)))
        return
    print(f"{given.events} events, {given.concurrency} at once, sink: {described()}")
    with tempfile.TemporaryDirectory() as folder:
        archive, single = Path(folder) / "archive", Path(folder) / "single"
        _write(archive, given.events)
        _write(single, 1)
        for latency in given.latency or (0.0, 0.05):
            with running_sink(latency) as sink:
                # In turns, so that whatever disturbs one disturbs the others too.
                rounds = [
                    {
                        name: _run(name, sink.url, archive, given.events, given)
                        for name in _CONTENDERS
                    }
                    for _ in range(given.runs)
                ]
                for name in _CONTENDERS:
                    started = _run(name, sink.url, single, 1, given)
                    _show(name, latency, given.events, rounds, started["seconds"])
            _show_ratio("pipeline by send_many, time", rounds, "seconds", _PIPELINE, _SEND_MANY)
            _show_ratio("pipeline by send_many, CPU time", rounds, "cpu", _PIPELINE, _SEND_MANY)
            _show_ratio("2 worker processes by 1, pace", rounds, "seconds", _ONE, _TWO)


def _write(folder: Path, events: int) -> None:
    """An archive as it would be: in several files, over which the messages of a device are spread."""
    folder.mkdir()
    setting = Setting(events_per_device=min(events, _EVENTS_PER_DEVICE))
    lines = [json.dumps(one) + "\n" for one in stream(setting, events)]
    for number in range(min(events, _FILES)):
        path = folder / f"events-{number}.jsonl"
        path.write_text("".join(lines[number::_FILES]), encoding="utf-8")


def _run(
    name: str, url: str, archive: Path, events: int, given: argparse.Namespace
) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--run", name, url]
    command += ["--archive", str(archive), "--concurrency", str(given.concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if result["accepted"] != events:
        raise RuntimeError(f"{name} lost or repeated events: {result}")
    return result


def _show(name: str, latency: float, events: int, rounds: _Rounds, started: float) -> None:
    middle = statistics.median(one[name]["seconds"] for one in rounds)
    cpu = statistics.median(one[name]["cpu"] for one in rounds)
    shown = f"{cpu / events * 1e6:4.0f} us of CPU" if name in _ON_ONE_CORE else ""
    print(
        f"{latency * 1000:4.0f} ms  {name:30} {events / middle:8.0f} events/s  {shown:15}"
        f"  one event alone {started:5.2f} s"
    )


def _show_ratio(what: str, rounds: _Rounds, measure: str, over: str, under: str) -> None:
    ratios = sorted(one[over][measure] / one[under][measure] for one in rounds)
    middle = statistics.median(ratios)
    print(f"         {what:34} {middle:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
