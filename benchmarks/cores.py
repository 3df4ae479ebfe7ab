"""Which core works for whom: the measured process on the first, the sink on another."""

from __future__ import annotations

import os

# Not every system lets a process choose.
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin_to_first() -> None:
    """Keep this process on one core, as far as the system lets it."""
    if len(_CORES) > 1:
        os.sched_setaffinity(0, {_CORES[0]})


def pin_to_others() -> None:
    """Keep this process off the measured one's core."""
    if len(_CORES) > 1:
        os.sched_setaffinity(0, set(_CORES[1:]))


def described() -> str:
    """What came of it, for the report."""
    if len(_CORES) > 1:
        return f"measured on one core, the sink on {len(_CORES) - 1} other"
    return "measured and sink share what there is"
