"""JSON bytes of Segment messages to JSON bytes of Kochava requests, over the test vectors.

The baseline reads and writes the same messages with `json` and does nothing else: no program that
maps JSON to JSON with the standard library can be faster than that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Contender
from kochava_segment import DryRunTransport, KochavaDestination, KochavaRequest

_VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "mapping.json"
_Work = tuple[bytes, Callable[[Mapping[str, Any]], KochavaRequest]]


@contextmanager
def case(*, quick: bool) -> Iterator[Case]:
    """The case."""
    vectors = [
        vector
        for vector in json.loads(_VECTORS.read_text(encoding="utf-8"))
        if "request" in vector["expect"]
    ]
    works: list[_Work] = [
        (
            json.dumps(vector["message"]).encode(),
            KochavaDestination(transport=DryRunTransport(), **vector["options"]).map,
        )
        for vector in vectors
    ]
    yield Case(
        name="mapping",
        title=f"Map {len(works)} kinds of messages, JSON bytes in, JSON bytes out",
        unit="messages",
        count=len(works) * (50 if quick else 1000),
        rounds=3 if quick else 15,
        contenders=(
            Contender(name="map", run=lambda count: _map(works, count)),
            Contender(
                name="json.loads, json.dumps",
                run=lambda count: _plain(works, count),
                baseline=True,
            ),
        ),
    )


def _map(works: list[_Work], count: int) -> None:
    for raw, map_message in islice(cycle(works), count):
        if not map_message(json.loads(raw)).body:
            raise RuntimeError("a request without a body")


def _plain(works: list[_Work], count: int) -> None:
    for raw, _ in islice(cycle(works), count):
        if not json.dumps(json.loads(raw)).encode():
            raise RuntimeError("no bytes")
