"""What a run has measured, to ask for by name."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from benchmarks.case import Contender


@frozen
class Spread:
    """A median, and between what the middle half of the values lies."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def times(self, factor: float) -> Spread:
        """All of it by a positive factor."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@frozen
class Found:
    """The results of a run.

    A setting is asked for by those of its dimensions that matter; the first that has them is taken.

    Attributes:
        document: What was written as JSON.
    """

    document: dict[str, Any]

    def settings(self, case: str) -> list[dict[str, Any]]:
        """The settings of a case, none if it was not run."""
        found: list[dict[str, Any]] = self.document["cases"].get(case, {}).get("settings", [])
        return found

    def values(
        self, case: str, contender: Contender, what: str = "rates", **dimensions: Any
    ) -> list[float]:
        """The values of a contender, one a round; none if it did not take part or failed."""
        for setting in self.settings(case):
            if dimensions.items() <= setting.items():
                found = setting["contenders"].get(contender.name, {})
                if "failed" in found:
                    return []
                values: list[float] = found.get(what, found.get("more", {}).get(what, []))
                return values
        return []

    def spread(
        self, case: str, contender: Contender, what: str = "rates", **dimensions: Any
    ) -> Spread | None:
        """The values of a contender; None if there are none."""
        values = self.values(case, contender, what, **dimensions)
        return Spread.of(values) if values else None

    def ratio(
        self, case: str, one: Contender, other: Contender, **dimensions: Any
    ) -> Spread | None:
        """The rate of one by that of another in the same round."""
        return of_pairs(
            self.values(case, one, **dimensions),
            self.values(case, other, **dimensions),
            lambda rate, bare: rate / bare,
        )


def of_pairs(ones: Sequence[float], others: Sequence[float], combine: Any) -> Spread | None:
    """The spread of what comes of the values of two contenders, round by round."""
    values = [combine(one, other) for one, other in zip(ones, others, strict=False)]
    return Spread.of(values) if values else None
