"""Which messages of an archive are meant: by time, event and user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from attrs import field, frozen

from kochava_segment.beam.archive import entries_from
from kochava_segment.entries import Entry
from kochava_segment.mapping.timestamps import epoch_seconds
from kochava_segment.names import fold_name

_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(map(fold_name, names))


@frozen(kw_only=True)
class Selection:
    """Which messages are meant. A condition that is not given holds for all.

    What cannot be read is always selected, so that it is reported.

    Attributes:
        since: The first time that is meant, in epoch seconds. A message without any time is not.
        until: The first time that is meant no longer, in epoch seconds.
        events: Names of track events, as `event` has them; case and white space do not matter.
        users: Values of `userId`.
    """

    since: int | None = None
    until: int | None = None
    events: frozenset[str] = field(default=frozenset(), converter=_folded)
    users: frozenset[str] = field(default=frozenset(), converter=frozenset)

    def includes(self, entry: Entry) -> bool:
        """Whether a message is meant."""
        message = entry.message
        if entry.error is not None or not isinstance(message, dict):
            return True
        return self._has_time(message) and self._has_name(message) and self._has_user(message)

    def select(self, element: Any) -> Iterator[Entry]:
        """The entry of an element, if it is meant."""
        return (entry for entry in entries_from([element]) if self.includes(entry))

    def _has_time(self, message: dict[str, Any]) -> bool:
        if self.since is None and self.until is None:
            return True
        time = message_time(message)
        if time is None:
            return False
        after = self.since is None or time >= self.since
        return after and (self.until is None or time < self.until)

    def _has_name(self, message: dict[str, Any]) -> bool:
        event = message.get("event")
        return not self.events or (isinstance(event, str) and fold_name(event) in self.events)

    def _has_user(self, message: dict[str, Any]) -> bool:
        return not self.users or str(message.get("userId")) in self.users


class Select(beam.PTransform):
    """Lets through what is meant.

    Args:
        selection: What that is.
    """

    def __init__(self, selection: Selection) -> None:
        super().__init__()
        self._selection = selection

    def expand(self, elements: Any) -> Any:  # noqa: D102  # Beam's
        return elements | beam.FlatMap(self._selection.select).with_output_types(Entry)


def message_time(message: dict[str, Any]) -> int | None:
    """When a message happened, in whole epoch seconds, as the mapping reads it."""
    for key in _TIMES:
        time = epoch_seconds(message.get(key))
        if time is not None:
            return time
    return None
