"""Event SDKs with one event in a request, as Kochava takes them, of the same size as Kochava's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from benchmarks.case import Setting, Work
from benchmarks.events import mapped
from benchmarks.sink import Sink

_QUEUE = 2_000_000  # they drop what does not fit


class _Errors(logging.Handler):
    """They log what goes wrong, and go on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, _: logging.LogRecord) -> None:
        self.count += 1


@contextmanager
def _no_errors(name: str) -> Iterator[None]:
    errors = _Errors()
    logging.getLogger(name).addHandler(errors)
    yield
    logging.getLogger(name).removeHandler(errors)
    if errors.count:
        raise RuntimeError(f"{name} has logged {errors.count} errors")


@contextmanager
def segment(setting: Setting) -> Iterator[Work]:
    """segment-analytics-python: so many threads, `upload_size=1`."""
    with _no_errors("segment"):
        client = import_module("segment.analytics.client").Client(
            "benchmark",
            host=setting.url,
            upload_size=1,
            thread=setting.concurrency,
            max_queue_size=_QUEUE,
        )

        def track(number: int, filling: str) -> None:
            client.track(f"u-{number}", "Order Completed", {"revenue": 19.95, "note": filling})

        yield _tracked(setting, track, client.flush)
        client.shutdown()


@contextmanager
def posthog(setting: Setting) -> Iterator[Work]:
    """posthog: so many threads, `flush_at=1`."""
    with _no_errors("posthog"):
        client = import_module("posthog.client").Client(
            "benchmark",
            host=setting.url,
            flush_at=1,
            thread=setting.concurrency,
            max_queue_size=_QUEUE,
        )

        def capture(number: int, filling: str) -> None:
            client.capture(
                "Order Completed",
                distinct_id=f"u-{number}",
                properties={"revenue": 19.95, "note": filling},
            )

        yield _tracked(setting, capture, lambda: client.flush(timeout_seconds=None))
        client.shutdown()


def _tracked(setting: Setting, track: Callable[[int, str], None], flush: Callable[[], Any]) -> Work:
    filling = ""

    def run(count: int) -> None:
        for number in range(count):
            track(number, filling)
        flush()

    # Its envelope is its own; the rest is filled up.
    sink = Sink(setting.url, setting.certificate)
    before = sink.received()["bytes"]
    run(1)
    size = sink.received()["bytes"] - before
    if size == 0:
        raise RuntimeError("nothing arrived")
    filling = "x" * max(0, len(mapped(setting)[0].body) - size)
    return Work(run=run, posted=1)
