"""Does what steps say, in the caller's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Attempt, Peer, make_attempt
from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.steps import Steps, Wait
from kochava_segment.delivery.transport import Transport

_Result = TypeVar("_Result")


class Stop(threading.Event):
    """Ends waits, and prevents further attempts, once it is set.

    Attributes:
        on_set: Called then as well; perhaps by a handler of signals.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_set: Callable[[], None] = lambda: None

    def set(self) -> None:
        """Set it."""
        super().set()
        self.on_set()


def drive(
    steps: Steps[_Result],
    transport: Transport,
    stopped: threading.Event,
    concurrency: Concurrency,
    peer: Peer,
) -> _Result:
    """Do one step after the other.

    Args:
        steps: The steps.
        transport: Posts.
        stopped: Ends their waits, once it is set.
        concurrency: Learns from their attempts.
        peer: Who answers.

    Returns:
        What they come to. What they raise is raised.
    """
    try:
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                closed = stopped.is_set() or (step.seconds > 0 and stopped.wait(step.seconds))
                step = steps.send(closed)
            else:
                attempt = make_attempt(transport, step.request, step.seconds, peer)
                learn(concurrency, attempt)
                step = steps.send(attempt)
    except StopIteration as settled:
        result: _Result = settled.value
        return result


def learn(concurrency: Concurrency, attempt: Attempt) -> None:
    """Tell a Concurrency of an attempt."""
    concurrency.observe(attempt.elapsed, refused=attempt.verdict is Verdict.RETRY)
