"""Many requests side by side: `send_many` against threads that post the same bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

from benchmarks.case import Case, Contender
from benchmarks.posting import (
    adapter_send,
    destinations,
    in_threads,
    mapped,
    messages,
    session_post,
)
from benchmarks.sink import running_sink
from kochava_segment import KochavaDestination, OutcomeKind

_THREADS = 16
_BODIES = 1000


@contextmanager
def case(*, quick: bool) -> Iterator[Case]:
    """The case."""
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        by_transport = stack.enter_context(destinations(sink.url))
        by_session = stack.enter_context(session_post())
        raw, requests = messages(_BODIES), mapped(by_transport["requests"], _BODIES)
        by_adapter = stack.enter_context(adapter_send(requests, _THREADS))
        ways: dict[str, Callable[[int], None]] = {
            f"send_many({what}), {name}": partial(_send_many, kochava, items)
            for name, kochava in by_transport.items()
            for what, items in (("messages", raw), ("requests", requests))
        }
        ways |= {
            "Session.post": lambda count: in_threads(by_session, requests, _THREADS, count),
            "HTTPAdapter.send": lambda count: in_threads(by_adapter, requests, _THREADS, count),
        }
        yield Case(
            name="send_many",
            title=f"Post over loopback, {_THREADS} at once",
            unit="requests",
            count=300 if quick else 3000,
            rounds=3 if quick else 11,
            contenders=[
                Contender(name=name, run=run, done=sink.count, baseline="send_many" not in name)
                for name, run in ways.items()
            ],
        )


def _send_many(kochava: KochavaDestination, items: Sequence[Any], count: int) -> None:
    for outcome in kochava.send_many(islice(cycle(items), count), concurrency=_THREADS):
        if outcome.kind is not OutcomeKind.ACCEPTED:
            raise RuntimeError(f"a message was {outcome.kind}")
