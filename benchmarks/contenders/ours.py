"""The library, message in, receipt out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from benchmarks.case import Setting, Work
from benchmarks.contenders.bare import in_threads, one_by_one
from benchmarks.events import mapped, stream
from kochava_segment import DryRunTransport, KochavaDestination, OutcomeKind
from kochava_segment.delivery.make_transport import make_transport

_VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "mapping.json"
TransportName = Literal["requests", "pycurl"]


@contextmanager
def send_many(
    setting: Setting,
    transport: TransportName,
    *,
    mapped_before: bool = False,
    pinned: bool = True,
) -> Iterator[Work]:
    """`send_many` of messages, or of requests, so many at once or as many as it finds best."""
    concurrency = setting.concurrency if pinned else None
    made = mapped(setting) if mapped_before else []
    with KochavaDestination("koexample", endpoint=setting.url, transport=transport) as kochava:

        def run(count: int) -> None:
            items = islice(cycle(made), count) if made else stream(setting, count)
            for outcome in kochava.send_many(items, concurrency=concurrency):
                if outcome.kind is not OutcomeKind.ACCEPTED:
                    raise RuntimeError(f"a message was {outcome.kind}")

        yield Work(run=run)


@contextmanager
def send_many_asynchronously(setting: Setting, *, mapped_before: bool = False) -> Iterator[Work]:
    """`AsyncKochavaDestination.send_many` of messages, or of requests."""
    from kochava_segment import AsyncKochavaDestination  # noqa: PLC0415  # needs aiohttp

    made = mapped(setting) if mapped_before else []
    loop = asyncio.new_event_loop()

    async def opened() -> AsyncKochavaDestination:
        return AsyncKochavaDestination("koexample", endpoint=setting.url)

    kochava = loop.run_until_complete(opened())

    async def send_all(count: int) -> None:
        items = islice(cycle(made), count) if made else stream(setting, count)
        async for outcome in kochava.send_many(items, concurrency=setting.concurrency):
            if outcome.kind is not OutcomeKind.ACCEPTED:
                raise RuntimeError(f"a message was {outcome.kind}")

    yield Work(run=lambda count: loop.run_until_complete(send_all(count)))
    loop.run_until_complete(kochava.close())
    loop.close()


@contextmanager
def send(setting: Setting, transport: TransportName) -> Iterator[Work]:
    """`send` of messages, one after the other."""
    with KochavaDestination("koexample", endpoint=setting.url, transport=transport) as kochava:
        yield Work(run=lambda count: one_by_one(kochava.send, stream(setting, count)))


@contextmanager
def transport_alone(setting: Setting, transport: TransportName) -> Iterator[Work]:
    """A transport's own `send`: no mapping, no order, no retries."""
    made = mapped(setting)
    bare = make_transport(transport, (3.05, 10.0))
    yield Work(run=lambda count: in_threads(bare.send, made, setting.concurrency, count))
    bare.close()


@contextmanager
def map_vectors(_: Setting) -> Iterator[Work]:
    """JSON bytes of Segment messages to JSON bytes of Kochava's requests, over the test vectors."""
    from kochava_segment import json_codec  # noqa: PLC0415  # looks for orjson when it is imported

    works = [
        (raw, KochavaDestination(transport=DryRunTransport(), **options).map)
        for raw, options in _vectors()
    ]

    def run(count: int) -> None:
        for raw, map_message in islice(cycle(works), count):
            if not map_message(json_codec.decode(raw)).body:
                raise RuntimeError("a request without a body")

    yield Work(run=run)


@contextmanager
def read_and_write(_: Setting) -> Iterator[Work]:
    """`json.loads` and `json.dumps` of the same messages, and nothing else."""
    raws = [raw for raw, _ in _vectors()]

    def run(count: int) -> None:
        for raw in islice(cycle(raws), count):
            if not json.dumps(json.loads(raw)).encode():
                raise RuntimeError("no bytes")

    yield Work(run=run)


def _vectors() -> list[tuple[bytes, dict[str, Any]]]:
    return [
        (json.dumps(vector["message"]).encode(), vector["options"])
        for vector in json.loads(_VECTORS.read_text(encoding="utf-8"))
        if "request" in vector["expect"]
    ]
