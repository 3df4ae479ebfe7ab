"""Who works on many jobs: one thread, if the transport can have many requests under way in it, or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kochava_segment.delivery.attempt import KOCHAVA, Peer
from kochava_segment.delivery.concurrency import Concurrency
from kochava_segment.delivery.driving import Stop, drive
from kochava_segment.delivery.multi_workers import MultiWorkers
from kochava_segment.delivery.steps import Steps
from kochava_segment.delivery.transport import MultiTransport, Transport
from kochava_segment.delivery.workers import Done, ThreadedWorkers, Workers

_Job = TypeVar("_Job")


def make_workers(
    steps_of: Callable[[_Job], Steps[Any]],
    done: Done[_Job],
    *,
    transport: Transport,
    stopped: Stop,
    concurrency: Concurrency,
    peer: Peer = KOCHAVA,
    name: str = "kochava-segment",
) -> Workers[_Job]:
    """The workers that suit a transport.

    Args:
        steps_of: Gives the steps of a job.
        done: Told of each job that is over.
        transport: Posts.
        stopped: Ends the waits of all jobs, once it is set.
        concurrency: How many jobs are under way at once. It may change its mind.
        peer: Who answers.
        name: What the threads are called.
    """
    if isinstance(transport, MultiTransport):
        return MultiWorkers(
            steps_of,
            done,
            transport=transport,
            stopped=stopped,
            concurrency=concurrency,
            peer=peer,
            name=name,
        )

    def work(job: _Job) -> Any:
        return drive(steps_of(job), transport, stopped, concurrency, peer)

    return ThreadedWorkers(work, done, concurrency, name)
