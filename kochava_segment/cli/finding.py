"""What `doctor` finds out, for all that looks for it."""

from __future__ import annotations

from attrs import frozen


@frozen
class Finding:
    """What was found out, and what to do about it.

    Attributes:
        mark: `ok`, `note` or `fail`.
        what: What was looked at, and what it was.
        advice: What to do, where something is to be done.
    """

    mark: str
    what: str
    advice: str = ""
