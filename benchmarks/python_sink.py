"""The sink where no C compiler is: one thread, one selector, no HTTP library.

As a program: `python -m benchmarks.python_sink MICROSECONDS [CERTIFICATE KEY]`. It prints its port, and
ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import ssl
import sys
import time
from collections import deque

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_SUCCESS = _ANSWER % (15, b'{"success":"1"}')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Server:
    def __init__(self, latency: float, context: ssl.SSLContext | None) -> None:
        self._latency = latency
        self._context = context
        self._posts = self._bytes = 0
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        # All wait equally long, so that the first in is the first due.
        self._due: deque[tuple[float, socket.socket]] = deque()

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
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0)
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._received[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(65_536)
            while isinstance(connection, ssl.SSLSocket) and connection.pending():
                chunk += connection.recv(65_536)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._selector.unregister(connection)
            del self._received[connection]
            connection.close()
            return
        received = self._received[connection]
        received += chunk
        while (head := received.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(received, 0, head)
            length = int(found[1]) if found else 0
            if len(received) < head + 4 + length:
                return
            self._answer(connection, length, counting=received.startswith(b"GET"))
            del received[: head + 4 + length]

    def _answer(self, connection: socket.socket, length: int, *, counting: bool) -> None:
        if counting:
            text = json.dumps({"posts": self._posts, "bytes": self._bytes}).encode()
            connection.send(_ANSWER % (len(text), text))
            return
        self._posts += 1
        self._bytes += length
        if self._latency:
            self._due.append((time.monotonic() + self._latency, connection))
        else:
            connection.send(_SUCCESS)

    def _next_due(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _answer_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, connection = self._due.popleft()
            if connection in self._received:
                with contextlib.suppress(OSError):
                    connection.send(_SUCCESS)


def main() -> None:
    """Serve as the arguments say."""
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:4])
    _Server(int(sys.argv[1]) / 1e6, context).serve()


if __name__ == "__main__":
    main()
