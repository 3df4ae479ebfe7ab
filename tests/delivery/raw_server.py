"""Servers that do what no HTTP server would: a script for each connection, and a small proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from typing_extensions import Self

from kochava_segment.request import KochavaRequest

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"success":"1"}'


def a_request(url: str, body: bytes = b'{"action":"event"}', **headers: str) -> KochavaRequest:
    return KochavaRequest(
        url=url, headers=headers, body=body, ordering_key="koapp/d1", action="event"
    )


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Received(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


def read_request(connection: socket.socket) -> Received | None:
    """A request, or None where the client closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
    }
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65_536)
    return Received(line, headers, body)


def say_nothing(connection: socket.socket) -> None:
    """Read on, and answer nothing, until the connection is closed by one side or the other."""
    while connection.recv(65_536):
        pass


class RawServer:
    """Gives each connection to `serve`, in a thread of its own.

    Args:
        serve: Takes the connection, which is closed after it. By default each request is answered
            with `answer`, on the same connection.
        answer: The bytes of that answer.
        tls: Speaks TLS with this certificate.
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], None] | None = None,
        *,
        answer: bytes = OK,
        tls: Certificate | None = None,
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._serve = serve or self._answer_all
        self._answer = answer
        self._context = None if tls is None else tls.server_context()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}/track/json"

    def read(self, connection: socket.socket) -> Received | None:
        """Read a request and remember it."""
        received = read_request(connection)
        if received is not None:
            self.requests.append(received)
        return received

    def _answer_all(self, connection: socket.socket) -> None:
        while self.read(connection):
            connection.sendall(self._answer)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._open.add(connection)
                self._start(self._serve_one, connection)

    def _serve_one(self, connection: socket.socket) -> None:
        plain = connection
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._serve(connection)
        self._open.discard(plain)
        connection.close()
        plain.close()


class Certificate(NamedTuple):
    """A self-signed certificate for a name."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> Certificate:
        made = cls(folder / "certificate.pem", folder / "key.pem")
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kochava-test "
            f"-addext subjectAltName={name} -out {made.certificate} -keyout {made.key}"
        )
        subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
        return made

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def proxy_to(port: int) -> RawServer:
    """A proxy that takes every CONNECT to this port of 127.0.0.1, whatever host it names."""

    def serve(client: socket.socket) -> None:
        if not proxy.read(client):
            return
        with socket.create_connection(("127.0.0.1", port)) as target:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(target, client), daemon=True)
            back.start()
            _copy(client, target)
            back.join(5)

    proxy = RawServer(serve)
    return proxy


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
