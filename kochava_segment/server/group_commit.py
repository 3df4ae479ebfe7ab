"""Concurrent requests share a transaction: whatever has arrived meanwhile is stored together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import evolve, frozen

from kochava_segment.errors import OutboxError, OutboxFull
from kochava_segment.outcome import Outcome
from kochava_segment.server.answers import Refusal

STORED_WITHIN = 4.5
"""Seconds to wait for the outbox. Segment waits 5 s for the answer, and tries again."""

_FULL_FOR = 30  # seconds until a sender may look whether there is room again
_BUSY_FOR = 5
_TOGETHER = 500  # messages; the outbox commits as many at once
_MOST_WAITING = 20_000  # messages, in memory


class TooManyWaiting(Exception):  # the receiver answers it
    """So much waits to be stored that more could not be stored in time."""


@frozen
class _Submission:
    """The messages of one request, and who waits for what becomes of them."""

    messages: Sequence[Any]
    stored: asyncio.Future[list[Outcome]]


class GroupCommit:
    """Stores the messages of concurrent requests in groups, in a thread of its own.

    While a group is being stored, the next one gathers: the busier it is, the larger the groups, and
    nobody waits for company. For one event loop at a time.

    Args:
        put: Stores messages and gives an Outcome for each, in order; blocks. It is called with one
            group at a time.
        most_waiting: How many messages may wait.
    """

    def __init__(
        self, put: Callable[[list[Any]], list[Outcome]], *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self._put = put
        self._most_waiting = most_waiting
        self._queue: deque[_Submission] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kochava-receiver")

    async def put(self, messages: Sequence[Any]) -> list[Outcome]:
        """Store messages. They are durable when this returns.

        Cancelling it leaves open whether they were stored.

        Returns:
            An Outcome for each, in order, `index` being its place among these messages.

        Raises:
            OutboxError: as `KochavaDestination.enqueue_many`.
            TooManyWaiting: nothing was stored, and there is no room to wait.
        """
        if self._waiting and self._waiting + len(messages) > self._most_waiting:
            raise TooManyWaiting
        loop = asyncio.get_running_loop()
        submission = _Submission(messages, loop.create_future())
        self._queue.append(submission)
        self._waiting += len(messages)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._store_all())
        return await submission.stored

    async def drain(self) -> None:
        """Wait until nothing waits any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _store_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            group = self._next_group()
            if not group:
                continue
            answers = await loop.run_in_executor(self._thread, self._store, group)
            for submission, answer in zip(group, answers, strict=True):
                if submission.stored.done():  # nobody waits for it any more
                    continue
                if isinstance(answer, Exception):
                    submission.stored.set_exception(answer)
                else:
                    submission.stored.set_result(answer)

    def _next_group(self) -> list[_Submission]:
        group: list[_Submission] = []
        size = 0
        while self._queue and (not group or size + len(self._queue[0].messages) <= _TOGETHER):
            submission = self._queue.popleft()
            self._waiting -= len(submission.messages)
            if not submission.stored.done():
                group.append(submission)
                size += len(submission.messages)
        return group

    def _store(self, group: Sequence[_Submission]) -> list[list[Outcome] | Exception]:
        try:
            outcomes = self._put([message for one in group for message in one.messages])
        except OutboxError as error:
            return [error] * len(group)
        except Exception as error:  # noqa: BLE001  # whose message it was shows when each is alone
            if len(group) == 1:
                return [error]
            return [self._store([one])[0] for one in group]
        answers: list[list[Outcome] | Exception] = []
        first = 0
        for one in group:
            own = outcomes[first : first + len(one.messages)]
            answers.append([evolve(outcome, index=n) for n, outcome in enumerate(own)])
            first += len(own)
        return answers


async def put_in_time(commit: GroupCommit, messages: Sequence[Any]) -> list[Outcome]:
    """Store messages, as `GroupCommit.put`, before whoever sent them gives up on the answer.

    Raises:
        Refusal: if they were not stored, or not in time; all of them can be sent again.
    """
    try:
        return await asyncio.wait_for(commit.put(messages), STORED_WITHIN)
    except OutboxFull:
        detail, wait = "the outbox is full", _FULL_FOR
    except OutboxError:
        detail, wait = "the outbox cannot be written at present", _BUSY_FOR
    except (asyncio.TimeoutError, TooManyWaiting):
        detail, wait = "the outbox takes too long; what it has taken is not taken twice", _BUSY_FOR
    raise Refusal(503, detail, retry_after=wait)
