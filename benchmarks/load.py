"""Load for the receiver: signed single events over loopback, and what came of them.

As a program, it starts `serve`, loads it for some time, and says how fast it answered and how much
memory it took meanwhile:

    python -m benchmarks.load --seconds 30 --rate 2000
    python -m benchmarks.load --seconds 600 --rate 1000 --relay

The load comes from this process, which keeps off the receiver's core.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks import cores
from benchmarks.events import messages
from benchmarks.sink import running_sink

SECRET = "benchmark-secret"  # of a receiver that lives for a minute
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SAMPLED_EVERY = 5.0  # seconds


@frozen
class Receiver:
    """A running receiver.

    Attributes:
        port: Where it listens.
        pid: Its process.
    """

    port: int
    pid: int

    def resident_bytes(self) -> int:
        """How much memory it takes, 0 where that cannot be told."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")


@frozen
class Measured:
    """What came of a load.

    Attributes:
        seconds: How long it took.
        latencies: Seconds of each answer.
        statuses: How many answers had which status.
    """

    seconds: float
    latencies: list[float] = field(repr=False)
    statuses: dict[int, int]

    def percentile(self, share: float) -> float:
        """Seconds in which this share of the answers came."""
        return sorted(self.latencies)[
            min(len(self.latencies) - 1, int(share * len(self.latencies)))
        ]


@contextmanager
def running_receiver(*, relay: bool, endpoint: str) -> Iterator[Receiver]:
    """A receiver in a process of its own, on the first core, with an outbox in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            *("-m", "kochava_segment", "serve", "--port", "0"),
            *("--outbox", f"{folder}/outbox.sqlite3", "--app-guid", "koexample"),
            *("--endpoint", endpoint, "--relay" if relay else "--no-relay"),
        ]
        with running(arguments) as receiver:
            yield receiver


@contextmanager
def running(arguments: list[str]) -> Iterator[Receiver]:
    """A Python program on the first core that prints its URL once it listens, ended by SIGTERM."""
    environment = {**os.environ, "KOCHAVA_SEGMENT_WEBHOOK_SECRET": SECRET}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=cores.pin_to_first,  # noqa: PLW1509  # no other thread runs yet
    ) as process:
        if process.stdout is None:
            raise RuntimeError("the receiver has no pipe")
        try:
            announced = process.stdout.readline()
            yield Receiver(int(announced.rpartition(":")[2]), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def signed_requests(count: int, first: int = 0) -> Iterator[bytes]:
    """Whole HTTP requests, each with a message of its own."""
    pattern = messages(50)
    for number in range(first, first + count):
        message = {**pattern[number % len(pattern)], "messageId": f"m-{number}"}
        body = json.dumps(message, separators=(",", ":")).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
        head = (
            "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def ask(self, request: bytes) -> int:
        """Send a request; gives the status of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._received, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= end and self._answer is not None:
            status = int(self._received[9:12])
            del self._received[:end]
            self._answer.set_result(status)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the receiver closed the connection"))


async def load(
    port: int, requests: Iterator[bytes], *, connections: int, rate: float | None = None
) -> Measured:
    """Send requests over some connections and wait for all answers.

    Args:
        port: The receiver's.
        requests: What is sent.
        connections: How many connections, each with one request at a time.
        rate: Requests a second, evenly spread, each timed from when it was due: what waits for a
            slow one before it counts as slow as well. None sends as fast as answers come.
    """
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    numbered = enumerate(requests)
    began = loop.time()

    async def work() -> None:
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        for number, request in numbered:
            due = loop.time() if rate is None else began + number / rate
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            status = await connection.ask(request)
            latencies.append(loop.time() - due)
            statuses[status] = statuses.get(status, 0) + 1
        connection._transport.close()  # noqa: SLF001  # it is ours

    await asyncio.gather(*(work() for _ in range(connections)))
    return Measured(loop.time() - began, latencies, statuses)


def main() -> None:
    """Load a receiver and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--relay", action="store_true", help="with the relay in the same process")
    arguments = parser.parse_args()
    cores.pin_to_others()
    count = int(arguments.seconds * arguments.rate)
    with (
        running_sink() as sink,
        running_receiver(relay=arguments.relay, endpoint=sink.url) as receiver,
    ):
        measured, memory = asyncio.run(_sampled(receiver, count, arguments))
        delivered = sink.count()
    print(f"statuses {measured.statuses}, {len(measured.latencies) / measured.seconds:,.0f}/s")
    for share in (0.5, 0.9, 0.99, 0.999, 1.0):
        print(f"  p{share * 100:g} {measured.percentile(share) * 1000:.1f} ms")
    print(f"delivered by then: {delivered}")
    if memory:
        quarter = max(1, len(memory) // 4)
        first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
        print(
            f"resident: {first / 2**20:.1f} MiB in the first quarter, {last / 2**20:.1f} in the last"
        )


async def _sampled(
    receiver: Receiver, count: int, arguments: argparse.Namespace
) -> tuple[Measured, list[int]]:
    memory: list[int] = []

    async def sample() -> None:
        for number in itertools.count(1):
            await asyncio.sleep(_SAMPLED_EVERY)
            memory.append(receiver.resident_bytes())
            if number % 12 == 0:
                print(f"{time.strftime('%H:%M:%S')} {memory[-1] / 2**20:.1f} MiB", flush=True)

    sampling = asyncio.create_task(sample())
    measured = await load(
        receiver.port,
        signed_requests(count),
        connections=arguments.connections,
        rate=arguments.rate or None,
    )
    sampling.cancel()
    return measured, memory


if __name__ == "__main__":
    main()
