"""Times as Segment and its users write them, to whole epoch seconds."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone

# datetime.fromisoformat would do from Python 3.11 on; 3.10's takes neither "Z" nor short fractions.
_ISO_8601 = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?"
    r"\s*(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.IGNORECASE | re.ASCII,
)

# Above this, a number is milliseconds: as seconds it would lie in the year 5138.
_MILLISECONDS_FROM = 10**11
_EARLIEST = -62_135_596_800  # year 1
_LATEST = 253_402_300_799  # year 9999


def epoch_seconds(value: object) -> int | None:
    """Read a time: ISO 8601 (no offset means UTC), a datetime, or a number of seconds or ms.

    Returns:
        Whole epoch seconds, rounded down; None for what is not a time.
    """
    if isinstance(value, str):
        return _from_iso_8601(value.strip())
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return math.floor(aware.timestamp())
    if isinstance(value, date):
        return _epoch(value.year, value.month, value.day)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_number(value)
    return None


def _from_number(value: float) -> int | None:
    # A comparison also throws out NaN and the infinities.
    if not _EARLIEST * 1000 <= value <= _LATEST * 1000:
        return None
    seconds = math.floor(value / 1000 if abs(value) > _MILLISECONDS_FROM else value)
    return seconds if _EARLIEST <= seconds <= _LATEST else None


def _from_iso_8601(text: str) -> int | None:
    match = _ISO_8601.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, sign, offset_hours, offset_minutes = match.groups()
    offset = int(offset_hours or 0) * 3600 + int(offset_minutes or 0) * 60
    if second == "60":  # A leap second is the last second of its minute to everyone but clocks.
        second = "59"
    try:
        start = _epoch(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError:
        return None
    return start + offset if sign == "-" else start - offset


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


def _epoch(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return (
        datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc) - _EPOCH
    ) // _SECOND
