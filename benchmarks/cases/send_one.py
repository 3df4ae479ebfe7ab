"""One request after the other: `send` against a loop that posts the same bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

from benchmarks.case import Case, Contender
from benchmarks.posting import adapter_send, destinations, mapped, messages, session_post
from benchmarks.sink import running_sink

_BODIES = 200


@contextmanager
def case(*, quick: bool) -> Iterator[Case]:
    """The case."""
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        by_transport = stack.enter_context(destinations(sink.url))
        by_session = stack.enter_context(session_post())
        raw, requests = messages(_BODIES), mapped(by_transport["requests"], _BODIES)
        by_adapter = stack.enter_context(adapter_send(requests, 1))
        ways: dict[str, Callable[[int], None]] = {
            f"send({what}), {name}": partial(_each, kochava.send, items)
            for name, kochava in by_transport.items()
            for what, items in (("message", raw), ("request", requests))
        }
        ways |= {
            "Session.post": lambda count: _each(by_session, requests, count),
            "HTTPAdapter.send": lambda count: _each(by_adapter, requests, count),
        }
        yield Case(
            name="send_one",
            title="Post over loopback, one after the other",
            unit="requests",
            count=200 if quick else 2000,
            rounds=3 if quick else 11,
            contenders=[
                Contender(
                    name=name, run=run, done=sink.count, baseline=not name.startswith("send(")
                )
                for name, run in ways.items()
            ],
        )


def _each(post: Callable[[Any], object], items: Sequence[Any], count: int) -> None:
    for item in islice(cycle(items), count):
        post(item)
