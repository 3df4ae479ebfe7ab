"""`/healthz` and `/readyz`: is there a process, and can it do its work."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import OutboxError
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server.answers import json_answer
from kochava_segment.server.status import CountedDepth, OneAtATime

_CHECKED_WITHIN = 4.0  # seconds


class Health:
    """Answers probes.

    Args:
        destination: Whose outbox and relay are looked at.
        tracking: The same towards Segment, if there is one.
        depth: Counts what waits in the outbox.
        ready_within: Seconds for which a message may wait.
    """

    def __init__(
        self,
        destination: KochavaDestination,
        tracking: SegmentTracking | None,
        depth: CountedDepth,
        *,
        ready_within: float,
    ) -> None:
        self._destination = destination
        self._tracking = tracking
        self._depth = depth
        self._ready_within = ready_within
        self._check = OneAtATime(self._problems)

    async def alive(self, _request: Request) -> Response:
        """Answer that the process lives."""
        return json_answer({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """Answer whether messages can be taken, and are on their way soon enough."""
        try:
            problems = await self._check.get(_CHECKED_WITHIN)
        except asyncio.TimeoutError:
            problems = [f"the outbox did not answer within {_CHECKED_WITHIN:.0f} s"]
        if problems:
            return json_answer({"status": "not ready", "problems": problems}, 503)
        return json_answer({"status": "ready"})

    def _problems(self) -> list[str]:
        problems = []
        try:
            _write(self._destination.outbox)
            oldest = self._depth.get().oldest_age
            if oldest is not None and oldest > self._ready_within:
                problems.append(
                    f"a message has waited for {oldest:.0f} s; {self._ready_within:.0f} s are allowed"
                )
            if self._tracking is not None:
                _write(self._tracking.outbox)
        except OutboxError as error:
            problems.append(f"the outbox cannot be used: {type(error).__name__}")
        if self._destination.options.relay and not self._destination.relay_alive:
            problems.append("the relay to Kochava does not run")
        if self._tracking is not None and not self._tracking.relay_alive:
            problems.append("the relay to Segment does not run")
        return problems


def _write(outbox: Outbox) -> None:
    """Write something: a lock alone would be granted on a full disk as well."""
    with outbox.file.writing() as cursor:
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        cursor.execute(f"PRAGMA user_version = {int(version)}")
