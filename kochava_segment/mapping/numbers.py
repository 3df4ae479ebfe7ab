"""Numbers as messages have them: as JSON numbers, as text, and as text that is a number."""

from __future__ import annotations

import math
import sys
from decimal import Decimal

_CHARACTERS = "0123456789.+-eE"
_LONGEST_TEXT = 64
_LARGEST_EXACT = 2**53
_LARGEST = int(sys.float_info.max)


def is_finite(value: float) -> bool:
    """Whether a number is one that a double can hold, if not exactly."""
    if isinstance(value, int):
        return -_LARGEST <= value <= _LARGEST
    return math.isfinite(value)


def whole(value: float) -> int | float:
    """150.0 as 150: a server that encodes again to check the signature would write it so."""
    if type(value) is float and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    return value


def as_number(value: object) -> int | float | None:
    """A finite number, or text that is one; None for anything else."""
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) or not is_finite(value) else value
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        return None
    text = value.strip()
    if not text or text.strip(_CHARACTERS):  # Python takes 1_000, inf and the digits of all scripts
        return None
    try:
        number = int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return None
    return whole(number) if math.isfinite(number) else None


def from_decimal(value: Decimal) -> int | float:
    """The JSON number of a Decimal; NaN for one that is not finite."""
    if not value.is_finite():
        return math.nan
    # copy_abs, since abs() rounds to the caller's decimal context, and may raise what that traps.
    if value.copy_abs() < _LARGEST_EXACT and value == value.to_integral_value():
        return int(value)
    return float(value)


def decimal_text(value: float) -> str:
    """A finite number in its shortest decimal form, never with an exponent: 5, 0.1, 0.0000001."""
    if isinstance(value, int):
        return str(int(value))
    number = whole(float(value))
    # An identity is compared letter by letter, and 1e21 has many spellings.
    return str(number) if isinstance(number, int) else f"{Decimal(repr(number)):f}"
