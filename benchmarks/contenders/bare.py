"""The barest ways of posting: what the library is compared with. They post requests made beforehand."""

from __future__ import annotations

import asyncio
import selectors
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from benchmarks.case import Setting, Work
from benchmarks.events import mapped
from kochava_segment import KochavaRequest

_TIMEOUT = (3.05, 10.0)
_JSON = {"Content-Type": "application/json"}
_SUCCESS = b'{"success":"1"}'


def in_threads(
    post: Callable[[KochavaRequest], Any],
    requests_: Sequence[KochavaRequest],
    threads: int,
    count: int,
) -> dict[str, float]:
    """Post so many requests from so many threads; from this one alone, each is timed."""
    if threads == 1:
        return one_by_one(post, islice(cycle(requests_), count))
    shares = [islice(cycle(requests_), start, count, threads) for start in range(threads)]

    def work(share: Iterator[KochavaRequest]) -> None:
        for request in share:
            post(request)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
    return {}


def one_by_one(post: Callable[[Any], object], items: Iterable[Any]) -> dict[str, float]:
    """Post one after the other, and say how long one takes."""
    times = []
    for item in items:
        began = time.perf_counter()
        post(item)
        times.append(time.perf_counter() - began)
    return {"median_us": statistics.median(times) * 1e6}


@contextmanager
def session_post(setting: Setting) -> Iterator[Work]:
    """`Session.post`, on a session a thread, as a careful program does it."""
    local = threading.local()
    sessions: list[requests.Session] = []
    made = mapped(setting)

    def post(request: KochavaRequest) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            sessions.append(local.session)
        headers = {**_JSON, **request.headers}
        answer = local.session.post(
            request.url, data=request.body, headers=headers, timeout=_TIMEOUT
        )
        _check(answer.status_code, answer.content)

    def run(count: int) -> dict[str, float]:
        more = in_threads(post, made, setting.concurrency, count)
        if setting.concurrency > 1:  # their threads are gone
            while sessions:
                sessions.pop().close()
        return more

    yield Work(run=run)
    for session in sessions:
        session.close()


@contextmanager
def adapter_send(setting: Setting) -> Iterator[Work]:
    """`HTTPAdapter.send` of prepared requests: all that `requests` can leave out."""
    adapter = HTTPAdapter(pool_maxsize=setting.concurrency)
    made = mapped(setting)
    prepared = {
        id(request): requests.Request(
            "POST", request.url, headers={**_JSON, **request.headers}, data=request.body
        ).prepare()
        for request in made
    }
    verify = setting.certificate or True

    def post(request: KochavaRequest) -> None:
        answer = adapter.send(prepared[id(request)], timeout=_TIMEOUT, verify=verify)
        _check(answer.status_code, answer.content)

    yield Work(run=lambda count: in_threads(post, made, setting.concurrency, count))
    adapter.close()


@contextmanager
def pycurl_perform(setting: Setting) -> Iterator[Work]:
    """pycurl, a handle a thread."""
    made = mapped(setting)
    handles: list[Any] = []  # kept from turn to turn, as threads are not
    in_use: list[Any] = []
    local = threading.local()

    def post(request: KochavaRequest) -> None:
        if not hasattr(local, "curl"):
            local.curl = handles.pop() if handles else _curl(setting, request.url)
            in_use.append(local.curl)
        curl = local.curl
        curl.setopt(curl.POSTFIELDS, request.body)
        answer = curl.perform_rb()
        _check(curl.getinfo(curl.RESPONSE_CODE), answer)

    def run(count: int) -> dict[str, float]:
        more = in_threads(post, made, setting.concurrency, count)
        if setting.concurrency > 1:
            handles.extend(in_use)
            in_use.clear()
        return more

    yield Work(run=run)
    for curl in (*handles, *in_use):
        curl.close()


@contextmanager
def pycurl_multi(setting: Setting) -> Iterator[Work]:
    """pycurl, all handles in one thread: libcurl's multi interface."""
    pycurl = import_module("pycurl")
    made = mapped(setting)
    multi = pycurl.CurlMulti()
    curls = [_curl(setting, made[0].url) for _ in range(setting.concurrency)]
    answers: dict[Any, list[bytes]] = {curl: [] for curl in curls}
    for curl, answer in answers.items():
        curl.setopt(pycurl.WRITEFUNCTION, answer.append)

    def run(count: int) -> None:
        left = islice(cycle(made), count)
        free, under_way = list(curls), 0
        while True:
            for curl, request in zip(free, left, strict=False):
                answers[curl].clear()
                curl.setopt(pycurl.POSTFIELDS, request.body)
                multi.add_handle(curl)
                under_way += 1
            if not under_way:
                return
            multi.perform()
            _, free, failed = multi.info_read()
            if failed:
                raise RuntimeError("a request has failed")
            for curl in free:
                _check(curl.getinfo(pycurl.RESPONSE_CODE), b"".join(answers[curl]))
                multi.remove_handle(curl)
                under_way -= 1
            if not free:
                multi.select(1.0)

    yield Work(run=run)
    for curl in curls:
        curl.close()
    multi.close()


def _curl(setting: Setting, url: str) -> Any:
    pycurl = import_module("pycurl")  # not everybody has it
    curl = pycurl.Curl()
    curl.setopt(pycurl.POST, 1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])
    curl.setopt(pycurl.TIMEOUT_MS, 10_000)
    if setting.certificate is not None:
        curl.setopt(pycurl.CAINFO, setting.certificate)
    return curl


@contextmanager
def aiohttp_post(setting: Setting) -> Iterator[Work]:
    """aiohttp, so many tasks on one session."""
    aiohttp = import_module("aiohttp")  # not everybody has it
    made = mapped(setting)
    context: ssl.SSLContext | bool = True
    if setting.certificate is not None:
        context = ssl.create_default_context(cafile=setting.certificate)
    loop = asyncio.new_event_loop()

    async def opened() -> Any:
        connector = aiohttp.TCPConnector(limit=setting.concurrency, ssl=context)
        return aiohttp.ClientSession(connector=connector, headers=_JSON)

    session = loop.run_until_complete(opened())

    async def work(share: Iterator[KochavaRequest]) -> None:
        for request in share:
            async with session.post(request.url, data=request.body) as answer:
                _check(answer.status, await answer.read())

    async def post_all(count: int) -> None:
        share = islice(cycle(made), count)  # one for all: tasks take turns
        await asyncio.gather(*(work(share) for _ in range(setting.concurrency)))

    yield Work(run=lambda count: loop.run_until_complete(post_all(count)))
    loop.run_until_complete(session.close())
    loop.close()


@contextmanager
def raw_sockets(setting: Setting) -> Iterator[Work]:
    """Sockets in one thread that waits for all: the most that Python can do."""
    address = urlsplit(setting.url)
    texts = [_request_text(request, address.netloc) for request in mapped(setting)]
    with selectors.DefaultSelector() as selector:
        connections = [
            socket.create_connection((address.hostname, address.port or 80))
            for _ in range(setting.concurrency)
        ]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)

        def run(count: int) -> None:
            left = islice(cycle(texts), count)
            under_way = 0
            for connection, text in zip(connections, left, strict=False):
                connection.sendall(text)
                under_way += 1
            while under_way:
                for key, _ in selector.select():
                    connection = key.fileobj  # type: ignore[assignment]  # all are sockets
                    answer = connection.recv(65_536)
                    if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(_SUCCESS)):
                        raise RuntimeError("the sink did not accept a request")
                    if following := next(left, b""):
                        connection.sendall(following)
                    else:
                        under_way -= 1

        yield Work(run=run)
        for connection in connections:
            connection.close()


def _request_text(request: KochavaRequest, host: str) -> bytes:
    head = f"POST {urlsplit(request.url).path} HTTP/1.1\r\nHost: {host}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n\r\n"
    return head.encode() + request.body


def _check(status: int, answer: bytes) -> None:
    if status != 200 or answer != _SUCCESS:
        raise RuntimeError("the sink did not accept a request")
