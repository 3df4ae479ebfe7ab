"""Times as Segment and its users write them, to whole epoch seconds."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

# datetime.fromisoformat would do from Python 3.11 on; 3.10's takes neither "Z" nor short fractions.
_ISO_8601 = re.compile(
    r"(\d{4}-?\d\d-?\d\d)"
    r"(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?"
    r"\s*(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.IGNORECASE | re.ASCII,
)

# Above this, a number is milliseconds: as seconds it lies in the year 5138. Kochava would take a
# later time for milliseconds, too.
_LATEST = 10**11
_EARLIEST = -62_135_596_800  # year 1


def epoch_seconds(value: object) -> int | None:
    """Read a time: ISO 8601 (no offset means UTC), a datetime, or a number of seconds or ms.

    Returns:
        Whole epoch seconds, rounded down; None for what is not a time before the year 5138.
    """
    seconds = _seconds(value)
    return seconds if seconds is not None and _EARLIEST <= seconds < _LATEST else None


def _seconds(value: object) -> int | None:
    if isinstance(value, str):
        return _from_iso_8601(value.strip())
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=timezone.utc) if value.utcoffset() is None else value
        return (aware - _EPOCH) // _SECOND
    if isinstance(value, date):
        return (value - _EPOCH.date()) // _SECOND
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_number(value)
    return None


def _from_number(value: float) -> int | None:
    # A comparison also throws out NaN and the infinities.
    if not _EARLIEST * 1000 <= value <= _LATEST * 1000:
        return None
    return math.floor(value / 1000 if abs(value) > _LATEST else value)


def _from_iso_8601(text: str) -> int | None:
    match = _ISO_8601.fullmatch(text)
    if match is None:
        return None
    day, hour, minute, second, sign, offset_hours, offset_minutes = match.groups(default="0")
    # A leap second is the last second of its minute to everyone but clocks.
    time = _within_a_day(hour, minute, "59" if second == "60" else second)
    offset = _within_a_day(offset_hours, offset_minutes, "0")
    try:
        midnight = _midnight(day.replace("-", ""))
    except ValueError:
        return None
    if time is None or offset is None:
        return None
    return midnight + time + (offset if sign == "-" else -offset)


def _within_a_day(hours: str, minutes: str, seconds: str) -> int | None:
    hour, minute, second = int(hours), int(minutes), int(seconds)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return hour * 3600 + minute * 60 + second


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=64)  # Nearly all messages are of a few days.
def _midnight(day: str) -> int:
    year, month, day_of_month = int(day[:4]), int(day[4:6]), int(day[6:])
    return (datetime(year, month, day_of_month, tzinfo=timezone.utc) - _EPOCH) // _SECOND
