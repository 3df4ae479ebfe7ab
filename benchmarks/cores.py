"""Which core works for whom: the measured process on the first, the sink on another."""

from __future__ import annotations

import os

# Not every system lets a process choose.
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin_to_first(process: int = 0) -> None:
    """Keep a process, by default this one, on one core, as far as the system lets it."""
    _pin(process, _CORES[:1])


def pin_to_others(process: int = 0) -> None:
    """Keep a process off the measured one's core."""
    _pin(process, _CORES[1:])


def pin_to_nth(number: int) -> None:
    """Keep this process on a core of its own, if there are so many: one of several side by side."""
    _pin(0, [_CORES[number % len(_CORES)]] if _CORES else [])


def _pin(process: int, to: list[int]) -> None:
    if len(_CORES) > 1:
        os.sched_setaffinity(process, to)


def described() -> str:
    """What came of it, for the report."""
    if len(_CORES) > 1:
        return f"measured on one core, the sink on {len(_CORES) - 1} other"
    return "measured and sink share what there is"
