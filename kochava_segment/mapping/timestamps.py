"""Times as Segment and its users write them, to whole epoch seconds."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

# datetime.fromisoformat would do from Python 3.11 on; 3.10's takes neither "Z" nor short fractions.
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)", re.ASCII)
_CLOCK = re.compile(r"(\d\d)(?::?(\d\d))?", re.ASCII)
_ISO_8601 = re.compile(
    r"(\d{4}-?\d\d-?\d\d)"
    r"(?:[T ](\d\d:?\d\d)(?::?(\d\d)(?:[.,]\d+)?)?"
    r"\s*(?:Z|([+-])(\d\d(?::?\d\d)?))?)?",
    re.IGNORECASE | re.ASCII,
)
# A leap second is the last second of its minute to everyone but clocks.
_SECONDS = {**{f"{second:02}": second for second in range(60)}, "60": 59}

# Above this, a number is milliseconds: as seconds it lies in the year 5138. Kochava would take a
# later time for milliseconds, too.
_LATEST = 10**11
_EARLIEST = -62_135_596_800  # year 1


def epoch_seconds(value: object) -> int | None:
    """Read a time: ISO 8601 (no offset means UTC), a datetime, or a number of seconds or ms.

    Returns:
        Whole epoch seconds, rounded down; None for what is not a time before the year 5138.
    """
    seconds = _from_any(value)
    return seconds if seconds is not None and _EARLIEST <= seconds < _LATEST else None


def _from_any(value: object) -> int | None:
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
    if _is_usual(text):
        day, clock, second = text[:10], text[11:16], text[17:19]
        sign = offset = None
    else:
        match = _ISO_8601.fullmatch(text)
        if match is None:
            return None
        day, clock, second, sign, offset = match.groups()
    midnight = _midnight(day)
    time = _seconds(clock) if clock else 0
    seconds = _SECONDS.get(second) if second else 0
    shift = _seconds(offset) if offset else 0
    if midnight is None or time is None or seconds is None or shift is None:
        return None
    return midnight + time + seconds + (shift if sign == "-" else -shift)


def _is_usual(text: str) -> bool:
    """Whether it is as JavaScript writes it, `2026-03-20T18:06:56.900Z`; some digits may be others.

    The regular expression, which says the same, takes most of the time that reading a time takes.
    """
    fraction = text[19:-1]
    return (
        text[10:11] == "T"
        and text[16:17] == ":"
        and text[-1:] == "Z"
        and (not fraction or (fraction[0] == "." and fraction[1:].isdecimal() and text.isascii()))
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=64)  # Nearly all messages are of a few days.
def _midnight(day: str) -> int | None:
    match = _DAY.fullmatch(day)
    if match is None:
        return None
    year, month, day_of_month = map(int, match.groups())
    try:
        midnight = datetime(year, month, day_of_month, tzinfo=timezone.utc)
    except ValueError:
        return None
    return (midnight - _EPOCH) // _SECOND


@lru_cache(maxsize=24 * 60)
def _seconds(clock: str) -> int | None:
    """The seconds of hours and minutes, None where a day has no such time."""
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return None
    hour, minute = map(int, match.groups(default="0"))
    return None if hour > 23 or minute > 59 else hour * 3600 + minute * 60
