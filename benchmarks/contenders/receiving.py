"""The receiver: signed events in over HTTP, answered when they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as counted

from benchmarks import cores
from benchmarks.case import Setting, Work
from benchmarks.load import load, running_receiver, signed_requests
from benchmarks.worker import cpu_of, peak_of


@contextmanager
def receive(setting: Setting, *, relay: bool) -> Iterator[Work]:
    """Load on `kochava-segment serve`, which has the measured core for itself."""
    cores.pin_to_others()
    numbers = counted(0, 10_000_000)  # no messageId twice
    with running_receiver(relay=relay, endpoint=setting.url) as receiver:

        def run(count: int) -> dict[str, float]:
            cpu = cpu_of(receiver.pid)
            measured = asyncio.run(
                load(
                    receiver.port,
                    signed_requests(count, first=next(numbers)),
                    connections=setting.concurrency,
                )
            )
            if set(measured.statuses) != {202}:
                raise RuntimeError(f"the receiver answered {measured.statuses}")
            return {
                "cpu": cpu_of(receiver.pid) - cpu,
                "peak": peak_of(receiver.pid),
                "median_us": measured.percentile(0.5) * 1e6,
                "p99_us": measured.percentile(0.99) * 1e6,
            }

        yield Work(run=run)
