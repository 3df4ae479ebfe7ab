"""Tests talk to this machine alone: what reaches for another is refused, and its test fails.

Sockets and look-ups of Python are refused in this process. libcurl, and the processes that tests start,
find a proxy in the environment, where nobody answers and everybody is noticed. Not covered is what another
program does without a proxy. The browser is one: `browser` keeps it here.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator

import pytest

from kochava_segment.option_kinds import is_loopback

# Nobody has an address below .invalid: RFC 6761.
_NOWHERE = ".invalid"
_ANY_OF_OURS = {"", "0.0.0.0", "::"}  # compared with, not bound
_PATIENCE = 1.0  # seconds for what a client of the proxy has begun to write

_reached_for: list[str] = []
_proxy = socket.create_server(("127.0.0.1", 0), backlog=100)


def _refuse_strangers(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):  # else a path
        host = arguments[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if isinstance(host, str) and not _is_ours(host):
        _reached_for.append(host)
        raise AssertionError(f"a test reaches for {host}: tests talk to this machine alone")


def _is_ours(host: str) -> bool:
    return host in _ANY_OF_OURS or is_loopback(host) or host.endswith(_NOWHERE)


def _asked_of_the_proxy() -> Iterator[str]:
    """The first lines of all requests that wait at the proxy."""
    while select.select([_proxy], [], [], 0)[0]:
        client, _ = _proxy.accept()
        with client:
            client.settimeout(_PATIENCE)
            line, _, _ = client.recv(1000).partition(b"\r\n")
            yield line.decode("ascii", "replace")


def pytest_configure() -> None:
    """Put the guards up, before anything is imported that could reach for somebody."""
    sys.addaudithook(_refuse_strangers)
    url = f"http://127.0.0.1:{_proxy.getsockname()[1]}"
    ours = f"127.0.0.1,localhost,::1,{_NOWHERE}"
    for name, value in {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": ours}.items():
        os.environ.pop(name.lower(), None)  # it would win, also over what a test sets
        os.environ[name] = value


def pytest_unconfigure() -> None:
    """Close the proxy."""
    _proxy.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail a test that reached for another machine, also if it took no notice that it could not."""
    yield
    reached_for = [*_reached_for, *_asked_of_the_proxy()]
    _reached_for.clear()
    if reached_for:
        pytest.fail(f"reached for another machine: {', '.join(reached_for)}", pytrace=False)
