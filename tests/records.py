"""Log records as tests look at them."""

from kochava_segment.log_events import PREFIX


def fields(record):
    """The machine-readable fields of a record, without their prefix."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in vars(record).items()
        if name.startswith(PREFIX)
    }


def logged(caplog, event):
    """The fields of all records of an event, in order; the event itself is left out."""
    found = [fields(record) for record in caplog.records]
    return [
        {name: value for name, value in one.items() if name != "event"}
        for one in found
        if one.get("event") == event
    ]
