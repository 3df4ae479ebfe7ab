"""The emulator's HTTP: reads requests, has them judged, answers, and misbehaves on demand."""

from __future__ import annotations

import socket
import struct
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kochava_segment.emulator import faults as fault_names
from kochava_segment.emulator import http_rules as http
from kochava_segment.emulator.rule import Rule

if TYPE_CHECKING:
    from kochava_segment.emulator.server import KochavaEmulator

_LENGTH_DIGITS = 12  # more of them are as much too many
_READ_IN_VAIN = 32 * 2**20
_WITHOUT_BODY = (204, 304)


class Server(ThreadingHTTPServer):
    """Listens, and knows its connections.

    Args:
        address: Where to listen.
        emulator: Who judges requests.
    """

    daemon_threads = False  # close() waits for them
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], emulator: KochavaEmulator) -> None:
        self.emulator = emulator
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, and handle it in a thread."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, and close it."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's error."""

    def close_connections(self) -> None:
        """End all handlers that wait for a request, or for time to pass."""
        self.closing.set()
        with self._connections_lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        if not self.rfile.peek(1):  # type: ignore[attr-defined]
            self.close_connection = True
            return
        self._fault = self.server.emulator.choose_fault()
        if self._fault == fault_names.RESET_BEFORE_READING:
            self._reset()
            return
        super().handle_one_request()

    def log_message(self, *_: object) -> None:
        """Nothing: what came is in `requests`."""

    def do_POST(self) -> None:  # http.server's name
        emulator = self.server.emulator
        headers = dict(self.headers.items())
        body = self._read_body()
        if body is http.MALFORMED:
            self.send_error(400)
            return
        status, answer = emulator.judge(self.command, self.path, headers, body, self._fault)
        self.server.closing.wait(emulator.faults.latency)
        if self._fault == fault_names.RESET_AFTER_READING:
            self._reset()
        else:
            self._answer(status, answer)

    def do_HEAD(self) -> None:  # http.server's name
        if self.path == "/":  # somebody looks whether it is there, as `doctor` does
            self._answer(200, b"")
        else:
            self.do_POST()

    do_GET = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815

    def send_error(
        self, code: int, _message: str | None = None, _explain: str | None = None
    ) -> None:
        """What http.server calls for what it cannot read."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # a method of no name that it knows
            self.do_POST()
            self.wfile.flush()  # http.server does so only for methods that it knows
            return
        self.close_connection = True
        self._fault = fault_names.OK
        self._answer(code, self.server.emulator.refuse_malformed(code))

    def _read_body(self) -> bytes | Rule:
        text = self.headers.get("Content-Length")
        if text is None or not text.isdecimal():
            self.close_connection = self.command == "POST"
            return http.NO_LENGTH
        length = int(text[:_LENGTH_DIGITS])
        if length > http.MAX_BODY_BYTES:
            self.close_connection = True
            self._read_in_vain(length)
            return http.TOO_LARGE
        body = self.rfile.read(length)
        return body if len(body) == length else http.MALFORMED

    def _read_in_vain(self, length: int) -> None:
        # A connection that is closed with something unread is reset, and the answer with it.
        for _ in range(min(length, _READ_IN_VAIN) // 2**16 + 1):
            if not self.rfile.read(min(length, 2**16)):
                break
            length -= 2**16
            if length <= 0:
                break

    def _answer(self, status: int, body: bytes) -> None:
        half = self._fault == fault_names.HALF_ANSWER
        self.close_connection = self.close_connection or half
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        if self._fault == str(status) and self.server.emulator.faults.retry_after is not None:
            self.send_header("Retry-After", str(self.server.emulator.faults.retry_after))
        if self.close_connection:
            self.send_header("Connection", "close")
        if self._fault == fault_names.TRICKLE:
            self._trickle(body)
            return
        self.end_headers()
        if self.command != "HEAD" and status not in _WITHOUT_BODY:
            self.wfile.write(body[: len(body) // 2] if half else body)

    def _trickle(self, body: bytes) -> None:
        self.end_headers()
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            if self.server.closing.wait(self.server.emulator.faults.trickle_delay):
                break

    def _reset(self) -> None:
        # Lingering for no time makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile.close = lambda: None  # type: ignore[method-assign]  # nothing more is to be sent
        self.rfile.close()
        self.connection.close()
