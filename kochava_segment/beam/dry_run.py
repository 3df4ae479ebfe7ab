"""What an archive holds, and what would become of it. Nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from kochava_segment.beam.archive import entries_from
from kochava_segment.beam.packing import text_for_engines
from kochava_segment.beam.settings import Settings
from kochava_segment.entries import Entry
from kochava_segment.errors import InvalidEventPayload, KochavaSegmentError, Problem
from kochava_segment.mapping import mapper
from kochava_segment.options import Options
from kochava_segment.outcome import Outcome
from kochava_segment.request import KochavaRequest

MAPPED = "mapped"
_MOST_EVENTS = 1_000  # different names that are counted each; the rest is counted as one
_OTHER_EVENTS = "(other events)"
_MOST_PROBLEMS = 200  # likewise: a reason names the path, which may have keys that strangers chose
_OTHER_PROBLEMS = "(other problems)"
_SAMPLES = 3  # places of each problem

_Tally = dict[str, Any]


class DryRun(beam.PTransform):
    """Maps messages, and reports on them instead of sending them.

    Args:
        app_guid: As for `KochavaDestination`.
        **options: As for `WriteToKochava`.

    Returns:
        A PCollection of one dictionary: `messages`, how many there are; `outcomes`, how many would be
        `mapped`, `filtered`, `invalid` or `unsupported`; `events`, the same for each event name;
        `warnings`, how many there are of each code; and `problems`, a list of dictionaries with
        `outcome`, `reason`, `count` and a few `samples` of where it is (file, line and messageId). No
        values of messages are in it but names of events.

    Raises:
        ConfigurationError: with everything that is wrong, when the pipeline is built.
    """

    def __init__(self, app_guid: str | None = None, **options: Any) -> None:
        super().__init__()
        self._settings = Settings.checked({"app_guid": app_guid, **options}, None, 1)

    def expand(self, messages: Any) -> Any:  # noqa: D102  # Beam's
        return (
            messages
            | "Map" >> beam.ParDo(_Tell(self._settings))
            | "Report" >> beam.CombineGlobally(_Tallies())
        )


class _Tell(beam.DoFn):
    """Gives (event, outcome, codes of warnings, reason, place) of each message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._options = self._settings.for_mapping()

    def process(self, element: Any) -> Iterable[tuple[Any, ...]]:
        for entry in entries_from([element]):
            mapped = _mapped(entry, self._options)
            message_id = entry.message_id
            place = {
                "file": entry.file,
                "line": entry.line or None,
                "messageId": None if message_id is None else text_for_engines(message_id),
            }
            if isinstance(mapped, KochavaRequest):
                codes = [warning.code for warning in mapped.warnings]
                yield _event_of(entry), MAPPED, codes, None, place
            else:
                outcome = Outcome.of_error(0, mapped)
                yield _event_of(entry), outcome.kind.value, [], outcome.reason, place


def _mapped(entry: Entry, options: Options) -> KochavaRequest | KochavaSegmentError:
    """The request of a message, or why there is none."""
    if entry.error is not None:
        return entry.error
    try:
        return mapper.map_message(entry.message, options)
    except KochavaSegmentError as error:
        return error
    except Exception as error:  # noqa: BLE001  # of an object that is no message at all
        problem = Problem("message", f"cannot be read: it raised {type(error).__name__}")
        return InvalidEventPayload([problem])


def _event_of(entry: Entry) -> str:
    message = entry.message
    if entry.error is not None or not isinstance(message, dict):
        return "(unreadable)"
    name = message.get("event")
    if isinstance(name, str) and name.strip() and message.get("type") == "track":
        return text_for_engines(name)
    kind = message.get("type")
    return f"({text_for_engines(kind)})" if isinstance(kind, str) else "(no type)"


class _Tallies(beam.CombineFn):
    """Adds up what is told of messages; what it holds is bounded."""

    def create_accumulator(self) -> _Tally:
        return {"events": {}, "warnings": Counter(), "problems": {}}

    def add_input(self, tally: _Tally, told: tuple[Any, ...]) -> _Tally:
        event, outcome, codes, reason, place = told
        _counts_of(tally["events"], event)[outcome] += 1
        tally["warnings"].update(codes)
        if reason is not None:
            _add_problem(tally["problems"], (outcome, reason), 1, [place])
        return tally

    def merge_accumulators(self, tallies: Iterable[_Tally]) -> _Tally:
        merged = self.create_accumulator()
        for tally in tallies:
            for event, counts in tally["events"].items():
                _counts_of(merged["events"], event).update(counts)
            merged["warnings"].update(tally["warnings"])
            for key, (count, places) in tally["problems"].items():
                _add_problem(merged["problems"], key, count, places)
        return merged

    def extract_output(self, tally: _Tally) -> dict[str, Any]:
        outcomes: Counter[str] = Counter()
        for counts in tally["events"].values():
            outcomes.update(counts)
        by_count = sorted(
            tally["events"].items(), key=lambda item: (-sum(item[1].values()), item[0])
        )
        problems = sorted(tally["problems"].items(), key=lambda item: (-item[1][0], item[0]))
        return {
            "messages": outcomes.total(),
            "outcomes": dict(outcomes.most_common()),
            "events": {event: dict(counts) for event, counts in by_count},
            "warnings": dict(tally["warnings"].most_common()),
            "problems": [
                {"outcome": outcome, "reason": reason, "count": count, "samples": places}
                for (outcome, reason), (count, places) in problems
            ],
        }


def _counts_of(events: dict[str, Counter[str]], event: str) -> Counter[str]:
    name = event if event in events or len(events) < _MOST_EVENTS else _OTHER_EVENTS
    return events.setdefault(name, Counter())


def _add_problem(
    problems: dict[tuple[str, str], tuple[int, list[Any]]],
    key: tuple[str, str],
    count: int,
    places: list[Any],
) -> None:
    if key not in problems and len(problems) >= _MOST_PROBLEMS:
        key = key[0], _OTHER_PROBLEMS
    before, kept = problems.get(key, (0, []))
    problems[key] = before + count, [*kept, *places][:_SAMPLES]
