import calendar
import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochava_segment.mapping.timestamps import epoch_seconds

NOON = 1774008000  # 2026-03-20T12:00:00Z
UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-03-20T12:00:00Z", NOON),
        ("2026-03-20T12:00:00.999Z", NOON),
        ("2026-03-20T12:00:00.999999999Z", NOON),
        ("2026-03-20T12:00:00,5Z", NOON),
        ("2026-03-20t12:00:00z", NOON),
        (" 2026-03-20 12:00:00 ", NOON),
        ("2026-03-20T12:00:00", NOON),
        ("2026-03-20T12:00", NOON),
        ("2026-03-20T12:00:00+00:00", NOON),
        ("2026-03-20T13:30:00+01:30", NOON),
        ("2026-03-20T13:30:00+0130", NOON),
        ("2026-03-20T14:00:00+02", NOON),
        ("2026-03-20T04:00:00-08:00", NOON),
        ("2026-03-20T12:00:00 +00:00", NOON),
        ("20260320T120000Z", NOON),
        ("2026-03-20", NOON - 12 * 3600),
        ("2016-12-31T23:59:60Z", 1483228799),
        ("1969-12-31T23:59:59.5Z", -1),
        ("1970-01-01T00:00:00Z", 0),
        ("5138-11-16T09:46:39Z", 10**11 - 1),
    ],
)
def test_iso_8601(value, seconds):
    assert epoch_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2026",
        "2026-03",
        "2026-13-01",
        "2026-02-30",
        "2026-03-20T24:00:00Z",
        "2026-03-20T12:60:00Z",
        "2026-03-20T12:00:61Z",
        "2026-03-20T12:00:00+24:00",
        "2026-03-20T12:00:00+01:60",
        "2026-03-20T12Z",
        "2026_03_20T12:00:00Z",
        "2026-03-20T1_:00:00Z",
        "2026-03-20T12:00:0_Z",
        "2026-03-20T12:00:00.Z",
        "2026-03-20T12:00:00.²Z",
        "2026-03-20T12:00:00.5ZZ",
        "20260320T1200+01:30Z",
        "2026-03-20T12:00:00 PST",
        "0000-01-01",
        "1774008000",
        "٢٠٢٦-03-20",
        "5138-11-16T09:46:40Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_text_that_is_no_time(value):
    assert epoch_seconds(value) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (NOON, NOON),
        (NOON + 0.9, NOON),
        (NOON * 1000, NOON),
        (NOON * 1000 + 999, NOON),
        (10**11 - 1, 10**11 - 1),
        (10**11 + 1, 10**8),
        (10**11, None),
        (-0.5, -1),
        (-(10**11) - 1, -(10**8) - 1),
        (0, 0),
    ],
)
def test_numbers_are_seconds_and_above_ten_to_the_eleventh_milliseconds(value, seconds):
    assert epoch_seconds(value) == seconds


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, 10**15, -(10**14), True, False, None, [], {}]
)
def test_values_that_are_no_time(value):
    assert epoch_seconds(value) is None


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2026, 3, 20, 12, 0, 0, 999999),  # noqa: DTZ001  # no zone means UTC
        dt.datetime(2026, 3, 20, 12, tzinfo=UTC),
        dt.datetime(2026, 3, 20, 17, 45, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))),
    ],
)
def test_datetimes(value):
    assert epoch_seconds(value) == NOON


def test_a_zone_that_does_not_know_its_offset_means_utc():
    class Unknown(dt.tzinfo):
        def utcoffset(self, _):
            return None

    assert epoch_seconds(dt.datetime(2026, 3, 20, 12, tzinfo=Unknown())) == NOON


def test_datetimes_are_rounded_down_exactly():
    late = dt.datetime(5138, 1, 1, 0, 0, 0, 999999, tzinfo=UTC)
    assert epoch_seconds(late) == epoch_seconds("5138-01-01T00:00:00Z")
    assert epoch_seconds(dt.datetime.max.replace(tzinfo=UTC)) is None
    assert epoch_seconds(dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)) == -1


def test_dates():
    assert epoch_seconds(dt.date(2026, 3, 20)) == NOON - 12 * 3600


@given(
    st.datetimes(
        min_value=dt.datetime(1900, 1, 1),  # noqa: DTZ001  # Hypothesis wants it so
        max_value=dt.datetime(5138, 1, 1),  # noqa: DTZ001
        timezones=st.timezones(),
    )
)
def test_iso_8601_and_datetimes_agree(time):
    assert epoch_seconds(time) == calendar.timegm(time.utctimetuple())
    if time.utcoffset().total_seconds() % 60 == 0:  # ISO 8601 has no seconds of offset
        assert epoch_seconds(time.isoformat()) == epoch_seconds(time)
