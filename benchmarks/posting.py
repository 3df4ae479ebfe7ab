"""The barest ways of posting with `requests`, which the library is compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any, Literal

import requests
from requests.adapters import HTTPAdapter

from kochava_segment import KochavaDestination, KochavaRequest

_TIMEOUT = (3.05, 10.0)
_JSON = {"Content-Type": "application/json"}
DEVICES = 50

Post = Callable[[KochavaRequest], None]


def messages(count: int) -> list[dict[str, Any]]:
    """Purchases of several devices, none of them odd."""
    return [
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": f"m-{number}",
            "userId": f"u-{number % DEVICES}",
            "anonymousId": f"a-{number % DEVICES}",
            "timestamp": "2026-03-20T18:06:56.900Z",
            "properties": {
                "order_id": f"o-{number}",
                "revenue": "19.95",
                "currency": "EUR",
                "products": [{"product_id": "p-1", "name": "Skis", "quantity": 2}],
            },
            "context": {
                "app": {"version": "3.2.1", "namespace": "com.example.skis"},
                "device": {
                    "id": f"7F2A1C5E-0B1D-4E0B-9E6F-{number % DEVICES:012X}",
                    "type": "ios",
                    "model": "iPhone16,2",
                    "adTrackingEnabled": False,
                    "trackingStatus": "denied",
                },
                "os": {"name": "iOS", "version": "17.5"},
                "ip": "203.0.113.7",
                "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
            },
        }
        for number in range(count)
    ]


def mapped(kochava: KochavaDestination, count: int) -> list[KochavaRequest]:
    """The requests that these messages become: every contender posts their bodies."""
    return [kochava.map(message) for message in messages(count)]


@contextmanager
def session_post() -> Iterator[Post]:
    """`Session.post` on a session a thread, as a careful program does it."""
    local = threading.local()
    sessions: list[requests.Session] = []

    def post(request: KochavaRequest) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            sessions.append(local.session)
        headers = {**_JSON, **request.headers}
        answer = local.session.post(
            request.url, data=request.body, headers=headers, timeout=_TIMEOUT
        )
        _check(answer)

    yield post
    for session in sessions:
        session.close()


@contextmanager
def adapter_send(requests_: Sequence[KochavaRequest], pool_size: int) -> Iterator[Post]:
    """`HTTPAdapter.send` of requests that were prepared before: all that `requests` can leave out."""
    adapter = HTTPAdapter(pool_maxsize=pool_size)
    prepared = {
        id(request): requests.Request(
            "POST", request.url, headers={**_JSON, **request.headers}, data=request.body
        ).prepare()
        for request in requests_
    }

    def post(request: KochavaRequest) -> None:
        _check(adapter.send(prepared[id(request)], timeout=_TIMEOUT))

    yield post
    adapter.close()


TRANSPORTS: tuple[Literal["requests", "pycurl"], ...] = (
    ("requests", "pycurl") if find_spec("pycurl") else ("requests",)
)


@contextmanager
def destinations(endpoint: str) -> Iterator[dict[str, KochavaDestination]]:
    """A destination for each transport that is installed."""
    made: dict[str, KochavaDestination] = {
        name: KochavaDestination("koexample", endpoint=endpoint, transport=name)
        for name in TRANSPORTS
    }
    yield made
    for destination in made.values():
        destination.close()


def _check(answer: requests.Response) -> None:
    if answer.status_code != 200 or answer.json()["success"] != "1":
        raise RuntimeError("the sink did not accept a request")


def in_threads(post: Post, requests_: Sequence[KochavaRequest], threads: int, count: int) -> None:
    """Post so many requests from so many threads."""
    shares = [islice(cycle(requests_), start, count, threads) for start in range(threads)]

    def work(share: Iterator[KochavaRequest]) -> None:
        for request in share:
            post(request)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
