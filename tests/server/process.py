"""`serve` as a process, and clients that speak to it in bytes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from tests.cli.process import environment
from tests.server.asgi import SECRET, TOKEN, signed

IMPATIENT = """
from kochava_segment.server import body, http_protocol
http_protocol.HEAD_TIMEOUT, body.BODY_TIMEOUT, http_protocol.MESSAGE_TIMEOUT = 0.5, 0.5, 1.5
from kochava_segment.__main__ import main
main()
"""


class Serving:
    """A running receiver."""

    def __init__(self, process, outbox):
        self.process = process
        self.outbox = outbox
        self.announced = process.stdout.readline()
        self.port = int(self.announced.rpartition(":")[2] or 0)

    def request(self, method, path, body=b"", headers=None, timeout=15):
        """A whole request on a connection of its own; gives the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, message, **how):
        body = json.dumps(message).encode()
        return self.request("POST", "/segment", body, signed(body), **how)

    def connect(self, timeout=15):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Send a signal; gives the exit code."""
        os.kill(self.process.pid, number)
        return self.process.wait(timeout)

    def stored(self):
        """The messageIds in the outbox."""
        box = Outbox(self.outbox)
        try:
            return [entry.message_id for entry in entries(box, EntryFilter())]
        finally:
            box.close()


@contextmanager
def serving(outbox, *arguments, script=None, relay=False, stderr=subprocess.DEVNULL, **variables):
    """A receiver with a signing secret and a token, and nobody who drains the outbox."""
    start = ("-m", "kochava_segment") if script is None else ("-c", script)
    command = [
        *(sys.executable, *start, "serve", "--port", "0", "--outbox", str(outbox)),
        *("--app-guid", "koexample", "--relay" if relay else "--no-relay", *map(str, arguments)),
    ]
    secrets = {
        "KOCHAVA_SEGMENT_WEBHOOK_SECRET": SECRET,
        "KOCHAVA_SEGMENT_BEARER_TOKEN": TOKEN,
        **variables,
    }
    given = {name: value for name, value in secrets.items() if value is not None}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment(**given)
    ) as process:
        try:
            yield Serving(process, outbox)
        finally:
            if process.poll() is None:
                process.kill()
            process.stdout.close()


def request_bytes(message, path="/segment", extra=""):
    """A signed request as it stands on the wire."""
    body = json.dumps(message).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-Signature: {signed(body)['X-Signature']}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def read_answers(sock, count):
    """The statuses of so many answers on a connection; fewer where it ends before."""
    reader = sock.makefile("rb")
    statuses = []
    for _ in range(count):
        line = reader.readline()
        if not line:
            break
        statuses.append(int(line.split()[1]))
        length = 0
        while (header := reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        reader.read(length)
    return statuses


class Senders:
    """Clients that post messages of their own until they are stopped, or the receiver is."""

    def __init__(self, port, make, count=8):
        self.accepted = []
        self.others = {}
        self._port, self._make = port, make
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(count)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _run(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        for turn in range(100_000):
            if self._stopped.is_set():
                break
            message = self._make(f"s{number}-{turn}")
            body = json.dumps(message).encode()
            try:
                connection.request("POST", "/segment", body, signed(body))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                break
            with self._lock:
                if answer.status == 202:
                    self.accepted.append(message["messageId"])
                else:
                    self.others[answer.status] = self.others.get(answer.status, 0) + 1
        connection.close()
