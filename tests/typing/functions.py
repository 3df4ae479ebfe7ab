"""Never run: type checkers read it. A Segment function that was ported."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import assert_type

from kochava_segment import KochavaDestination, KochavaSegmentError, Outcome
from kochava_segment.segment import functions
from kochava_segment.segment.functions import BatchEntry, Functions


def handle(kochava: KochavaDestination, event: Mapping[str, Any]) -> int:
    """One event."""
    handlers = Functions(kochava, budget=2, concurrency=8)
    assert_type(handlers.on_track(event), Outcome)
    try:
        handlers.on_identify(event)
    except functions.RetryError as error:
        assert_type(error.detail, str)
        assert_type(error.message_id, str | None)
        root: KochavaSegmentError = error
        raise root from None
    except (functions.ValidationError, functions.DropEvent) as error:
        return assert_type(error.status, int)
    except (functions.EventNotSupported, functions.InvalidEventPayload):
        return 400
    return 200


def handle_many(events: list[dict[str, Any]]) -> list[str]:
    """A batch, with settings."""
    entries = functions.on_batch(events, {"apiKey": "koexample"})
    assert_type(entries, list[BatchEntry])
    assert_type(entries[0]["status"], int)
    return [entry["errormessage"] for entry in entries if "errormessage" in entry]
