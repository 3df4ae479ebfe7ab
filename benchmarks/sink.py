"""The other end: answers every POST with Kochava's success, as lightly as Python can.

One thread, one selector, no HTTP library: the sink must not be what is measured. It runs as a
process of its own: `python -m benchmarks.sink [SECONDS OF LATENCY]`. It prints its port, and ends
when its standard input does.
"""

from __future__ import annotations

import heapq
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from attrs import frozen

from benchmarks import cores

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_SUCCESS = _ANSWER % (15, b'{"success":"1"}')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_COUNT = "/count"


@frozen
class Sink:
    """A running sink.

    Attributes:
        url: Its base URL.
    """

    url: str

    def count(self) -> int:
        """How many requests it has answered."""
        return int(requests.get(self.url + _COUNT, timeout=5).text)


@contextmanager
def running_sink(latency: float = 0.0) -> Iterator[Sink]:
    """A sink in a process of its own, on another core than this one if there is one."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the sink has no pipes")
        try:
            yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.stdin.close()
            process.wait(timeout=10)


class _Server:
    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        self._due: list[tuple[float, int, socket.socket, bytes]] = []

    def serve(self) -> None:
        """Answer until standard input ends."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            listening.settimeout(0)
            self._selector.register(listening, selectors.EVENT_READ)
            self._selector.register(sys.stdin, selectors.EVENT_READ)
            print(listening.getsockname()[1], flush=True)
            while True:
                for key, _ in self._selector.select(self._next_due()):
                    if key.fileobj is sys.stdin:
                        return
                    if key.fileobj is listening:
                        self._accept(listening)
                    elif isinstance(key.fileobj, socket.socket):
                        self._read(key.fileobj)
                self._answer_due()

    def _accept(self, listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(65_536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._selector.unregister(connection)
            del self._received[connection]
            connection.close()
            return
        received = self._received[connection]
        received += chunk
        while (head := received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(received, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(received) < end:
                return
            self._answer(connection, counting=received.startswith(b"GET"))
            del received[:end]

    def _answer(self, connection: socket.socket, *, counting: bool) -> None:
        if counting:
            text = str(self._count).encode()
            connection.send(_ANSWER % (len(text), text))
            return
        self._count += 1
        if self._latency:
            due = time.monotonic() + self._latency
            heapq.heappush(self._due, (due, self._count, connection, _SUCCESS))
        else:
            connection.send(_SUCCESS)

    def _next_due(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _answer_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, connection, answer = heapq.heappop(self._due)
            if connection in self._received:
                connection.send(answer)


if __name__ == "__main__":
    cores.pin_to_others()
    _Server(float(sys.argv[1])).serve()
