"""An archive from files to Kochava, as one run of a pipeline: what `kochava-segment replay` does."""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from attrs import frozen

from kochava_segment.beam.archive import ReadFromSegmentArchive
from kochava_segment.beam.dry_run import DryRun
from kochava_segment.beam.results import FAILED_OUTPUTS, METRICS
from kochava_segment.beam.selection import Select, Selection
from kochava_segment.beam.settings import CredentialsSource, local_processes
from kochava_segment.beam.write import WriteToKochava

# Names that Beam takes and keeps under another.
_OTHER_SPELLINGS = {
    "experiment": "experiments",
    "extra_package": "extra_packages",
    "dataflow_service_option": "dataflow_service_options",
    "label": "labels",
}
_DEAD_WORKER = "Worker subprocess exited"
_LOOK_EVERY = 0.2  # seconds


class RunFailed(RuntimeError):
    """The pipeline did not come to its end. Its text says why."""


@frozen(kw_only=True)
class Replay:
    """What is to be replayed, and how.

    Attributes:
        inputs: Paths or globs.
        selection: Which messages of them.
        app_guid: As for `WriteToKochava`.
        options: As for `WriteToKochava`.
        flags: Beam's own options, as on a command line; `--runner` among them.
    """

    inputs: Sequence[str]
    selection: Selection
    app_guid: str | None
    options: Mapping[str, Any]
    flags: Sequence[str]

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine alone."""
        return local_processes(PipelineOptions(list(self.flags))) is not None

    def send(
        self,
        failed: str | None,
        *,
        concurrency: int,
        workers: int | None,
        credentials: CredentialsSource | None,
    ) -> dict[str, int]:
        """Send everything.

        Args:
            failed: The prefix of the files that get what failed; None for none.
            concurrency: As for `WriteToKochava`.
            workers: As for `WriteToKochava`.
            credentials: As for `WriteToKochava`.

        Returns:
            The counters: of outcomes, `warning_CODE`, `maybe_repeated`; as far as the engine has them.

        Raises:
            ConfigurationError: if an option is wrong.
            RunFailed: if the engine gave up.
        """
        pipeline = beam.Pipeline(options=PipelineOptions(list(self.flags)))
        outputs = self._selected(pipeline) | "WriteToKochava" >> WriteToKochava(
            self.app_guid,
            concurrency=concurrency,
            workers=workers,
            credentials=credentials,
            **self.options,
        )
        if failed is not None:
            _ = (
                [outputs[tag] for tag in FAILED_OUTPUTS]
                | "Failed" >> beam.Flatten()
                | "Lines" >> beam.Map(as_line)
                | "WriteFailed" >> beam.io.WriteToText(failed, file_name_suffix=".jsonl")
            )
        return _counters(_run(pipeline))

    def dry_run(self, report: str) -> dict[str, Any]:
        """Map everything, and report on it.

        Args:
            report: The file that gets the report, as JSON, in a place that all workers reach.

        Raises:
            ConfigurationError: if an option is wrong.
            RunFailed: if the engine gave up.
        """
        pipeline = beam.Pipeline(options=PipelineOptions(list(self.flags)))
        _ = (
            self._selected(pipeline)
            | "DryRun" >> DryRun(self.app_guid, **self.options)
            | "Json" >> beam.Map(as_line)
            | "WriteReport" >> beam.io.WriteToText(report, shard_name_template="")
        )
        _run(pipeline)
        with FileSystems.open(report) as file:
            found: dict[str, Any] = json.loads(file.read())
        return found

    def _selected(self, pipeline: Any) -> Any:
        archive = pipeline | "ReadFromSegmentArchive" >> ReadFromSegmentArchive(*self.inputs)
        return archive | "Select" >> Select(self.selection)


def as_line(result: Mapping[str, Any]) -> str:
    """A result as a line of JSON; what JSON does not know as text."""
    return json.dumps(result, default=str)


def unknown_flags(flags: Sequence[str]) -> list[str]:
    """A sentence for each flag that Beam does not know: it would ignore it, or take it for another."""
    known = PipelineOptions([]).get_all_options()
    sentences = []
    for flag in flags:
        name = flag.removeprefix("--").partition("=")[0]
        spellings = {name, name.removeprefix("no_"), _OTHER_SPELLINGS.get(name, name)}
        if spellings.isdisjoint(known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean --{close[0]}?" if close else ""
            sentences.append(f"--{name} is an option of neither replay nor Beam{hint}")
    return sentences


def without_files(patterns: Sequence[str]) -> list[str]:
    """Those patterns that no file matches, also because their storage is not there."""
    return [pattern for pattern in patterns if not _has_files(pattern)]


def _has_files(pattern: str) -> bool:
    try:
        (match,) = FileSystems.match([pattern], limits=[1])
    except (ValueError, OSError):  # no such scheme, no such folder
        return False
    return bool(match.metadata_list)


def _run(pipeline: Any) -> Any:
    """Run a pipeline to its end. Local runners do that in a thread, which is given up on if need be.

    They wait for a worker process without end when it has died.
    """
    ended = threading.Event()
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result = pipeline.run()
            state = result.wait_until_finish()
            results.append(result)
            if state is not None and state != "DONE":
                errors.append(RunFailed(f"the engine ended it as {state}"))
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            errors.append(error)
        ended.set()

    def of_thread(hook: threading.ExceptHookArgs) -> None:
        if str(hook.exc_value).startswith(_DEAD_WORKER):
            errors.append(RunFailed(f"a worker process died: {hook.exc_value}"))
            ended.set()
        else:
            before(hook)

    before: Callable[[threading.ExceptHookArgs], object] = threading.excepthook
    threading.excepthook = of_thread
    try:
        threading.Thread(target=run, name="kochava-segment-replay", daemon=True).start()
        while not ended.wait(_LOOK_EVERY):
            pass  # so that a signal is handled
    finally:
        threading.excepthook = before
    if errors:
        raise errors[0] if isinstance(errors[0], RunFailed) else _failed(errors[0])
    return results[0]


def _failed(error: BaseException) -> RunFailed:
    # What an engine raises may be a page long, and repeat what a DoFn was given.
    first = str(error).strip().splitlines()[:1]
    return RunFailed(f"{type(error).__name__}: {first[0] if first else 'without a word'}")


def _counters(result: Any) -> dict[str, int]:
    return {
        one.key.metric.name: int(one.result or 0)
        for one in result.metrics().query()["counters"]
        if one.key.metric.namespace == METRICS
    }
