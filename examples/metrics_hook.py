"""A hook that counts deliveries: what a dashboard and an alarm need.

Register it with `hooks`; LoggingHook beside it, since the list replaces the default.
"""

from __future__ import annotations

import threading
from collections import Counter

from kochava_segment import (
    AttemptEvent,
    DeliveryHook,
    KochavaDestination,
    LoggingHook,
    OutcomeEvent,
    RetryScheduledEvent,
)


class Metrics:
    """Counts outcomes by action, and retries by status. Hooks are called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.retries: Counter[int | None] = Counter()
        self.seconds = 0.0

    def attempt(self, event: AttemptEvent) -> None:
        """Add the time that Kochava took."""
        with self._lock:
            self.seconds += event.elapsed

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """Count a retry."""
        with self._lock:
            self.retries[event.status] += 1

    def outcome(self, event: OutcomeEvent) -> None:
        """Count an outcome."""
        with self._lock:
            self.outcomes[event.action, event.outcome] += 1


def main() -> None:
    """Send one event to where KOCHAVA_SEGMENT_* variables say, and show the counts."""
    metrics = Metrics()
    hooks: tuple[DeliveryHook, ...] = (LoggingHook(), metrics)
    with KochavaDestination.from_env(hooks=hooks) as kochava:
        kochava.send({"type": "track", "event": "Level Complete", "anonymousId": "a-1"})
    for (action, outcome), count in metrics.outcomes.items():
        print(action, outcome, count)


if __name__ == "__main__":
    main()
