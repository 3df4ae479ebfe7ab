"""What a case is, and how its contenders are measured."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Contender:
    """One way of doing the work of a case.

    Attributes:
        name: What the report calls it.
        run: Does the work so many times, and raises if any of it went wrong.
        baseline: Others are compared with it.
        done: How much of the work has arrived where it goes, where that can be told; asked before
            and after, off the clock.
    """

    name: str
    run: Callable[[int], None]
    baseline: bool = False
    done: Callable[[], int] | None = None


@frozen(kw_only=True)
class Case:
    """Several ways of doing one thing.

    Attributes:
        name: The module's name.
        title: What is done, as the heading of the report.
        unit: What is counted, such as `messages`.
        count: How many of them each contender does in a round.
        rounds: How many rounds are measured.
        contenders: The ways.
    """

    name: str
    title: str
    unit: str
    count: int
    rounds: int
    contenders: Sequence[Contender]


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

    def as_dict(self, digits: int) -> dict[str, float]:
        """For JSON."""
        return {
            "median": round(self.median, digits),
            "low": round(self.low, digits),
            "high": round(self.high, digits),
        }


@frozen(kw_only=True)
class Result:
    """What a contender did.

    Attributes:
        contender: Its name.
        rate: Units a second, over the rounds.
        ratios: Its rate by that of each baseline in the same round; above 1 it is faster.
    """

    contender: str
    rate: Spread
    ratios: dict[str, Spread]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "contender": self.contender,
            "rate": self.rate.as_dict(1),
            "ratios": {name: ratio.as_dict(3) for name, ratio in self.ratios.items()},
        }


def measure(case: Case) -> list[Result]:
    """Measure a case: a round to warm up, then rounds in which all contenders take turns."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    for number in range(case.rounds + 1):
        # Another one begins each time: what one leaves behind does not always hit the same next one.
        shift = number % len(case.contenders)
        for contender in (*case.contenders[shift:], *case.contenders[:shift]):
            seconds = _timed(contender, case.count)
            if number > 0:
                rates[contender.name].append(case.count / seconds)
    baselines = [contender.name for contender in case.contenders if contender.baseline]
    return [
        Result(
            contender=name,
            rate=Spread.of(of),
            ratios={
                baseline: Spread.of(
                    [rate / bare for rate, bare in zip(of, rates[baseline], strict=True)]
                )
                for baseline in baselines
                if baseline != name
            },
        )
        for name, of in rates.items()
    ]


def _timed(contender: Contender, count: int) -> float:
    before = contender.done() if contender.done else 0
    gc.collect()
    began = time.perf_counter()
    contender.run(count)
    seconds = time.perf_counter() - began
    if contender.done and (arrived := contender.done() - before) != count:
        raise RuntimeError(f"{contender.name}: {arrived} arrived, not {count}")
    return seconds
