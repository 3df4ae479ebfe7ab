"""Which sockets have something to read, or room to write, by their numbers."""

from __future__ import annotations

import select
from collections.abc import Collection


def ready(readable: Collection[int], writable: Collection[int], seconds: float) -> set[int]:
    """Those of these sockets that are ready; waits so long at most for the first.

    Args:
        readable: Ready when there is something to read, which may be the end.
        writable: Ready when there is room to write.
        seconds: How long to wait.
    """
    if not hasattr(select, "poll"):  # Windows, where `select` takes any number
        read, write, _ = select.select(readable, writable, (), seconds)
        return {*read, *write}
    poll = select.poll()
    for number in writable:
        poll.register(number, select.POLLOUT)
    for number in readable:
        poll.register(number, select.POLLIN | (select.POLLOUT if number in writable else 0))
    return {number for number, _ in poll.poll(seconds * 1000)}
