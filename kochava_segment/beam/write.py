"""The sink: from messages to Kochava, and to one output for each thing that can become of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import Iterable, Tuple

from kochava_segment.beam.preparing import SETTLED, DropRepeated, Prepare
from kochava_segment.beam.results import OUTPUTS, PutOut
from kochava_segment.beam.sending import Send
from kochava_segment.beam.settings import (
    CredentialsSource,
    Settings,
    is_count,
    share_of,
)
from kochava_segment.errors import ConfigurationError, Problem

_KEYED = Tuple[str, Any]
_DEVICES = Tuple[str, Iterable[Any]]


class WriteToKochava(beam.PTransform):
    """Maps Segment messages and sends them to Kochava.

    Takes a PCollection of messages (dictionaries), of what `ReadFromSegmentArchive` reads, or of what
    an output of an earlier run holds. Messages of one device are sent in order, the install first,
    then by time, then as they stood in their file; messageIds that were there before are dropped.

    Args:
        app_guid: As for `KochavaDestination`.
        max_rate: Requests a second, of all workers together. Each worker process gets an equal share
            of it, so fewer processes than `workers` send more slowly, and never do all together send
            faster.
        workers: The most worker processes that there can be at a time. It has to be given with
            `max_rate` unless the runner is a local one.
        concurrency: Requests under way at once, in a worker process.
        batch_size: Messages that are sent between two looks at the engine.
        credentials: Called on each worker process for the API key and the secret; a function that can
            be pickled. By default `KOCHAVA_SEGMENT_API_KEY` and `KOCHAVA_SEGMENT_API_SECRET` in the
            worker's environment, where they are set; `credentials_from_environment` insists on them.
        **options: As for `KochavaDestination`; not the secrets, and nothing of the outbox but
            `dedup_window`, which is how long a stream remembers messageIds. `hooks` has none by
            default, since outcomes are in the outputs; your own have to be picklable.

    Returns:
        A PCollection of dictionaries for each name in `OUTPUTS`, as attributes: `accepted`,
        `filtered`, `invalid`, `unsupported`, `rejected`, `exhausted`, `ambiguous`, `duplicate`.
        docs/beam.md describes them. Every message is in exactly one.

    Raises:
        ConfigurationError: with everything that is wrong, when the pipeline is built.
    """

    def __init__(
        self,
        app_guid: str | None = None,
        *,
        max_rate: float | None = None,
        workers: int | None = None,
        concurrency: int = 64,
        batch_size: int = 5000,
        credentials: CredentialsSource | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        problems = [
            Problem(name, "must be a whole number from 1 on")
            for name, value in (("workers", workers), ("batch_size", batch_size))
            if value is not None and not is_count(value)
        ]
        given: Mapping[str, Any] = {"app_guid": app_guid, "max_rate": max_rate, **options}
        try:
            self._settings = Settings.checked(given, credentials, concurrency)
        except ConfigurationError as error:
            problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        self._max_rate, self._workers, self._batch_size = max_rate, workers, batch_size

    def expand(self, messages: Any) -> Any:  # noqa: D102  # Beam's
        pipeline_options = messages.pipeline.options
        share = share_of(self._max_rate, self._workers, pipeline_options)
        settings = self._settings.with_rate(share)
        if not messages.windowing.is_default():
            # Order and duplicates go over all windows; results keep the times of their messages.
            messages |= "Unwindowed" >> beam.WindowInto(GlobalWindows())
        prepared = messages | "Map" >> beam.ParDo(Prepare(settings)).with_output_types(
            _KEYED
        ).with_outputs(SETTLED, main="keyed")
        devices, *repeated = self._devices(prepared.keyed)
        sent = (
            devices
            | "Send" >> beam.ParDo(Send(settings, self._batch_size)).with_output_types(bytes)
            # What fails behind this does not make the engine send again.
            | "Keep" >> beam.Reshuffle()
        )
        return (
            (sent, prepared[SETTLED], *repeated)
            | "Results" >> beam.Flatten()
            | "Outcomes" >> beam.ParDo(PutOut()).with_outputs(*OUTPUTS)
        )

    def _devices(self, keyed: Any) -> tuple[Any, ...]:
        """What is to be sent, by device; of a stream also the results of what was there before."""
        if keyed.is_bounded:
            return (keyed | "Devices" >> beam.GroupByKey(),)
        window = self._settings.for_mapping().dedup_window
        fresh = keyed | "Repeated" >> beam.ParDo(DropRepeated(window)).with_output_types(
            _DEVICES
        ).with_outputs(SETTLED, main="fresh")
        return fresh.fresh, fresh[SETTLED]
