"""Programs of these tests as real processes, and what they acknowledged before they died."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from kochava_segment import KochavaDestination
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from tests.cli.process import COMMAND, environment

ROOT = Path(__file__).parents[2]
QUICK = {"base": 0.01, "cap": 0.05}
"""A retry policy for tests: waits that are over soon."""


class Sender:
    """`sender.py` as a process.

    Args:
        folder: Where its output goes: to files, since a full pipe would hold it up.
        environ: Environment variables for it.
        arguments: Of `sender.main`.
    """

    count = 0

    def __init__(self, folder, *, environ=None, **arguments):
        Sender.count += 1
        self._output = folder / f"sender-{Sender.count}.txt"
        self._errors = folder / f"sender-{Sender.count}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.sender", json.dumps(arguments)],
                cwd=ROOT,
                env=environment(**(environ or {})),
                stdout=output,
                stderr=errors,
            )

    @property
    def acknowledged(self):
        """The numbers that it has written so far; a line that was cut off is none."""
        lines = self._output.read_text().split("\n")[:-1]
        return [int(line) for line in lines if line.isdigit()]

    @property
    def errors(self):
        return self._errors.read_text()

    @property
    def longest(self):
        """The longest `enqueue`, in seconds."""
        (line,) = (line for line in self.errors.splitlines() if line.startswith("longest "))
        return float(line.split()[1])

    def wait_for(self, count):
        """Wait until it has acknowledged so many messages."""
        eventually(lambda: len(self.acknowledged) >= count or self.process.poll() is not None)
        assert len(self.acknowledged) >= count, self.errors

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def end(self, timeout=60):
        """Its exit code."""
        return self.process.wait(timeout)


@contextmanager
def relay_process(path, endpoint, *arguments, lease="0.5"):
    """`kochava-segment relay` on an outbox; killed in the end, if it runs still."""
    process = subprocess.Popen(
        [*COMMAND, "relay", "--app-guid", "koapp", *arguments],
        env=environment(
            KOCHAVA_SEGMENT_OUTBOX=str(path),
            KOCHAVA_SEGMENT_ENDPOINT=endpoint,
            KOCHAVA_SEGMENT_LEASE=lease,
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def say(figures):
    """Show what was measured, where pytest is run with -s."""
    sys.stdout.write(f"\n{figures}\n")


def eventually(condition, timeout=30.0):
    """Wait until a condition holds, and fail if it does not in time."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def drained(path, endpoint, **options):
    """Send what an outbox still holds; gives its status then."""
    options = {"lease": 0.5, "outbox_retry": QUICK, **options}
    with KochavaDestination("koapp", endpoint=endpoint, outbox=path, **options) as destination:
        return destination.flush(60)


def stored(path):
    """All entries of an outbox."""
    box = Outbox(path)
    try:
        return list(entries(box, EntryFilter()))
    finally:
        box.close()


def stored_numbers(path):
    """The numbers of the messages that an outbox knows, in order of arrival."""
    return [int(entry.message_id[1:]) for entry in stored(path)]
