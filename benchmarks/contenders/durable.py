"""The outbox: storing, draining, and both as a whole program."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from benchmarks import cores
from benchmarks.case import Setting, Work
from benchmarks.contenders.ours import TransportName
from benchmarks.events import lines, stream
from benchmarks.worker import cpu_of, peak_of
from kochava_segment import KochavaDestination, OutboxStatus, Outcome, OutcomeKind

Durability = Literal["normal", "full"]
_GROUP = 1_000
_LOOK_EVERY = 0.02


@contextmanager
def enqueue(setting: Setting, durability: Durability = "normal") -> Iterator[Work]:
    """`enqueue`, a message at a time: mapped, and durable when it returns."""
    with _storing(setting, durability) as kochava:

        def run(count: int) -> dict[str, float]:
            times = []
            for message in stream(setting, count):
                began = time.perf_counter()
                outcome = kochava.enqueue(message)
                times.append(time.perf_counter() - began)
                if outcome.kind is not OutcomeKind.QUEUED:
                    raise RuntimeError(f"a message was {outcome.kind}")
            return {"median_us": statistics.median(times) * 1e6}

        yield Work(run=run)


@contextmanager
def enqueue_many(setting: Setting, durability: Durability = "normal") -> Iterator[Work]:
    """`enqueue_many`, a thousand messages at a time."""
    with _storing(setting, durability) as kochava:

        def run(count: int) -> dict[str, float]:
            messages, seconds, cpu = stream(setting, count), 0.0, 0.0
            while group := list(islice(messages, _GROUP)):  # whoever stores messages has them
                began, cpu_began = time.perf_counter(), time.process_time()
                outcomes = kochava.enqueue_many(group)
                seconds += time.perf_counter() - began
                cpu += time.process_time() - cpu_began
                _check_queued(outcomes)
            return {"seconds": seconds, "cpu": cpu}

        yield Work(run=run)


@contextmanager
def relay(
    setting: Setting, transport: TransportName, durability: Durability = "normal"
) -> Iterator[Work]:
    """The relay in this process: it drains an outbox that was filled before."""
    with tempfile.TemporaryDirectory() as folder:
        kochava = KochavaDestination(
            "koexample",
            endpoint=setting.url,
            outbox=f"{folder}/outbox.sqlite3",
            durability=durability,
            transport=transport,
            workers=setting.concurrency,
            relay=False,
        )
        with kochava:

            def prepare(count: int) -> None:
                kochava.stop_relay()
                _fill(kochava, setting, count)

            def run(_: int) -> None:
                kochava.start_relay()
                _check(kochava.flush())

            yield Work(prepare=prepare, run=run)


def _check(status: OutboxStatus) -> None:
    if status.pending or status.failed:
        raise RuntimeError(f"the outbox holds: {dict(status.states)}")


@contextmanager
def relays(setting: Setting, transport: TransportName, processes: int) -> Iterator[Work]:
    """So many processes with a relay each, on one outbox, each on a core of its own if it can be."""
    with ExitStack() as stack:
        path = f"{stack.enter_context(tempfile.TemporaryDirectory())}/outbox.sqlite3"
        storing = stack.enter_context(
            KochavaDestination("koexample", endpoint=setting.url, outbox=path, relay=False)
        )
        others = [
            stack.enter_context(_relaying(setting, transport, path, number))
            for number in range(processes)
        ]
        pids = [pid for _, pid in others]

        def run(_: int) -> dict[str, float]:
            before = sum(map(cpu_of, pids))
            for other, _pid in others:
                other.send("drain")
            for other, _pid in others:
                if (answer := other.recv()) != "drained":
                    raise RuntimeError(answer)
            return {
                "cpu": sum(map(cpu_of, pids)) - before,
                "peak": max(map(peak_of, pids)),
            }

        yield Work(prepare=lambda count: _fill(storing, setting, count), run=run)


@contextmanager
def _relaying(
    setting: Setting, transport: TransportName, path: str, number: int
) -> Iterator[tuple[Connection, int]]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_drain, args=(theirs, setting, transport, path, number))
    process.start()
    if ours.recv() != "ready":
        raise RuntimeError("a relay has not started")
    yield ours, process.pid or 0
    ours.send(None)
    process.join(20)


def _drain(
    connection: Connection, setting: Setting, transport: TransportName, path: str, number: int
) -> None:
    cores.pin_to_nth(number)
    kochava = KochavaDestination(
        "koexample",
        endpoint=setting.url,
        outbox=path,
        transport=transport,
        workers=setting.concurrency,
        relay=False,
    )
    with kochava:
        connection.send("ready")
        while connection.recv() is not None:
            kochava.start_relay()
            status = kochava.flush()
            kochava.stop_relay()
            connection.send("drained" if not status.failed else f"{dict(status.states)}")


@contextmanager
def send_outbox(setting: Setting, transport: TransportName) -> Iterator[Work]:
    """`kochava-segment send FILE --outbox FILE` as a whole process, from file to acknowledged."""
    with tempfile.TemporaryDirectory() as folder:
        messages, box = Path(folder, "messages.jsonl"), Path(folder, "outbox.sqlite3")

        def prepare(count: int) -> None:
            for path in Path(folder).glob("outbox.sqlite3*"):
                path.unlink()
            with messages.open("wb") as file:
                file.writelines(lines(setting, count))

        def run(_: int) -> dict[str, float]:
            command = [sys.executable, "-m", "kochava_segment", "send", str(messages)]
            command += ["--outbox", str(box), "--app-guid", "koexample", "--endpoint", setting.url]
            command += ["--workers", str(setting.concurrency), "--transport", transport]
            peak = 0
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process:
                while process.poll() is None:
                    peak = max(peak, peak_of(process.pid))
                    time.sleep(_LOOK_EVERY)
                said = process.stdout.read() if process.stdout is not None else b""
            if process.returncode != 0:
                raise RuntimeError(f"send has failed: {said.decode()}")
            return {"peak": peak}

        yield Work(prepare=prepare, run=run, warm_up=False)


@contextmanager
def _storing(setting: Setting, durability: Durability) -> Iterator[KochavaDestination]:
    with (
        tempfile.TemporaryDirectory() as folder,
        KochavaDestination(
            "koexample",
            endpoint=setting.url or "http://127.0.0.1",
            outbox=f"{folder}/outbox.sqlite3",
            durability=durability,
            relay=False,
        ) as kochava,
    ):
        yield kochava


def _fill(kochava: KochavaDestination, setting: Setting, count: int) -> None:
    messages = stream(setting, count)
    for _ in range(0, count, _GROUP):
        _check_queued(kochava.enqueue_many(islice(messages, _GROUP)))


def _check_queued(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.kind is not OutcomeKind.QUEUED:
            raise RuntimeError(f"a message was {outcome.kind}")
