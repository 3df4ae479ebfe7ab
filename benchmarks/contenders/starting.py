"""How long a program takes to start."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.case import Setting, Work


@contextmanager
def start(_: Setting, arguments: Sequence[str]) -> Iterator[Work]:
    """Start Python with some arguments, and wait until it ends."""

    def run(count: int) -> dict[str, float]:
        for _ in range(count):
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return {"peak": peak * (1 if sys.platform == "darwin" else 1024)}

    yield Work(run=run)
