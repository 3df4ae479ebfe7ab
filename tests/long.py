"""How much the long tests do: everything, or a twentieth of it where `SHORT_SLOW_TESTS` is set."""

from __future__ import annotations

import os


def many(count: int) -> int:
    """So many examples, messages or rounds; a twentieth of them in a short run, at least one."""
    return max(1, count // 20) if os.environ.get("SHORT_SLOW_TESTS") else count
