"""How many of something there are, in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with what it counts: `1 request`, `2,000 requests`.

    Args:
        number: How many.
        noun: What one of them is called.
    """
    return f"{number:,} {noun if number == 1 else noun + 's'}"
