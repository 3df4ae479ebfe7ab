"""A program with an outbox, to be harmed. Run it with one argument, a JSON object; see `main`.

It writes the number of each message to standard output when `enqueue` has acknowledged it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time

from kochava_segment import KochavaDestination
from kochava_segment.delivery import outbox_file
from tests.faults.traffic import message

DAY = 86_400.0


def main(
    *,
    options,
    first=0,
    count=10**9,
    step=1,
    pause=0.0,
    seconds=1e9,
    then="end",
    clock=None,
    checkpoint_pages=None,
    acknowledge_in=None,
    largest_file=None,
):
    """Enqueue messages, then end in some way.

    Args:
        options: Of the destination.
        first: The number of the first message.
        count: How many messages at most.
        step: From each number to the next.
        pause: Seconds between two messages.
        seconds: How long at most.
        then: How to end: see `_ENDINGS`.
        clock: Seconds by which the clock jumps to and fro, if it does.
        checkpoint_pages: After how many pages SQLite empties its -wal file, if not as usual.
        largest_file: Bytes that it may write into a file, if there is a limit.
        acknowledge_in: A file to write the latest number to, else standard output.
    """
    if clock is not None:
        _let_the_clock_jump(clock)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if checkpoint_pages is not None:
        outbox_file._CHECKPOINT_PAGES = checkpoint_pages
    acknowledge = _acknowledging(acknowledge_in)
    destination = KochavaDestination("koapp", **options)
    until, longest = time.monotonic() + seconds, 0.0
    for number in range(first, first + count * step, step):
        began = time.monotonic()
        if began > until:
            break
        destination.enqueue(message(number))
        longest = max(longest, time.monotonic() - began)
        acknowledge(number)
        if pause:
            time.sleep(pause)
    sys.stderr.write(f"longest {longest}\n")
    sys.stderr.flush()
    _ENDINGS[then](destination)


def _acknowledging(path):
    if path is None:
        return lambda number: os.write(1, b"%d\n" % number)
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    return lambda number: os.pwrite(file, b"%d\n" % number, 0)


def _let_the_clock_jump(by):
    true, lock, calls = time.time, threading.Lock(), 0

    def jumping():
        nonlocal calls
        with lock:
            calls += 1
            return true() + (by, -by, 0.0)[calls % 3]

    time.time = jumping


def _raise(_):
    raise RuntimeError("nobody catches this")


def _exit_in_a_thread(_):
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()


def _wait(_):
    os.write(1, b"waiting\n")
    time.sleep(3600)


_ENDINGS = {
    "end": lambda _: None,
    "flush": lambda destination: destination.flush(60),
    "close": lambda destination: destination.close(),
    "raise": _raise,
    "exit": lambda _: sys.exit(3),
    "exit in a thread": _exit_in_a_thread,
    "exit at once": lambda _: os._exit(4),
    "abort": lambda _: os.abort(),
    "wait": _wait,
}

if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
