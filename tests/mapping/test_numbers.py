import decimal
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kochava_segment.mapping.numbers import (
    as_number,
    decimal_text,
    from_decimal,
    is_finite,
    whole,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (1.5, 1.5),
        ("19.95", 19.95),
        (" +7 ", 7),
        ("-3", -3),
        ("5.", 5),
        (".5", 0.5),
        ("1e3", 1000),
        ("2.50E-1", 0.25),
        ("007", 7),
        ("9" * 30, int("9" * 30)),
    ],
)
def test_numbers_and_text_that_is_one(value, number):
    assert as_number(value) == number
    assert type(as_number(value)) is type(number)


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        "",
        " ",
        ".",
        "1,5",
        "1 000",
        "0x10",
        "1_000",
        "$5",
        "nan",
        "inf",
        "1e999",
        "٣",
        "1" * 65,
        [],
        math.nan,
        math.inf,
        2**1024,
    ],
)
def test_what_is_no_number(value):
    assert as_number(value) is None


def test_text_of_sixty_four_characters_is_still_read():
    assert as_number("1" * 64) == int("1" * 64)


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        (0, True),
        (int(sys.float_info.max), True),
        (int(sys.float_info.max) + 1, False),
        (2**1024, False),
        (-(2**1024), False),
        (1e308, True),
        (math.inf, False),
        (math.nan, False),
    ],
)
def test_finite_numbers_fit_a_double(value, finite):
    assert is_finite(value) is finite


@pytest.mark.parametrize(
    ("value", "expected"),
    [(150.0, 150), (-2.0, -2), (1.5, 1.5), (2.0**53, 2.0**53), (7, 7), (2.0**53 - 1, 2**53 - 1)],
)
def test_whole_numbers_lose_their_fraction_while_they_are_exact(value, expected):
    assert whole(value) == expected
    assert type(whole(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7),
        ("7.00", 7),
        ("1.5", 1.5),
        ("9007199254740992", 9007199254740992.0),
        ("1e400", math.inf),
    ],
)
def test_decimals(value, expected):
    found = from_decimal(decimal.Decimal(value))
    assert found == expected
    assert type(found) is type(expected)


def test_a_decimal_is_read_whatever_the_caller_s_context_traps():
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        assert from_decimal(decimal.Decimal("1234.5")) == 1234.5
        assert math.isnan(from_decimal(decimal.Decimal("sNaN")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e21, "1000000000000000000000"),
        (-2.5, "-2.5"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_decimal_text(value, text):
    assert decimal_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300))
def test_decimal_text_is_the_same_number_without_an_exponent(value):
    text = decimal_text(value)
    assert "e" not in text
    assert text == str(value) or float(text) == value
