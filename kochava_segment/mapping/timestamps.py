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
    midnight = _midnight(day)
    minutes = _minutes(hour, minute)
    offset = 0 if sign == "0" else _minutes(offset_hours, offset_minutes)
    # A leap second is the last second of its minute to everyone but clocks.
    seconds = 59 if second == "60" else int(second)
    if midnight is None or minutes is None or offset is None or seconds > 59:
        return None
    return midnight + (minutes + (offset if sign == "-" else -offset)) * 60 + seconds


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=64)  # Nearly all messages are of a few days.
def _midnight(day: str) -> int | None:
    digits = day.replace("-", "")
    year, month, day_of_month = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    try:
        midnight = datetime(year, month, day_of_month, tzinfo=timezone.utc)
    except ValueError:
        return None
    return (midnight - _EPOCH) // _SECOND


@lru_cache(maxsize=24 * 60)
def _minutes(hours: str, minutes: str) -> int | None:
    hour, minute = int(hours), int(minutes)
    return None if hour > 23 or minute > 59 else hour * 60 + minute
