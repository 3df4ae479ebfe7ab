"""What signals do to a command that works through input: it ends in order, not in the middle."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

_Item = TypeVar("_Item")

_NOTICE = b"\nstopping: what is under way is finished; Ctrl-C again gives up on what waits\n"


class Stop:
    """Ends the input at the first SIGINT or SIGTERM, and gives up at the second.

    Attributes:
        stopped: Whether there was a signal.
    """

    def __init__(self, give_up: Callable[[], object]) -> None:
        self.stopped = False
        self._reading = False
        self._give_up = give_up

    @classmethod
    @contextmanager
    def on_signals(cls, give_up: Callable[[], object]) -> Iterator[Stop]:
        """Look after signals for a while.

        Args:
            give_up: Ends all waiting. Called at the second signal, from the signal handler.
        """
        stop = cls(give_up)
        before = {
            number: signal.signal(number, stop._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopped:
            self._give_up()
            return
        self.stopped = True
        if sys.stderr is not None:
            # Past Python's buffers: the signal may have come in the middle of writing to them.
            os.write(sys.stderr.fileno(), _NOTICE)
        if self._reading:  # perhaps blocked in a read that nothing else would end
            raise _Interrupted

    def until_stopped(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """The items, until the first signal."""
        while not self.stopped:
            try:
                self._reading = True
                try:
                    item = next(items)
                finally:
                    self._reading = False
            except (_Interrupted, StopIteration):
                return
            yield item


class _Interrupted(BaseException):
    """A signal came while input was awaited."""
