"""The geometry of the delivery chart: stacked bars, one for each span of time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from attrs import frozen

HEIGHT = 100.0
"""Of the picture, in its own units. It is stretched to where it stands; so is its width."""

_GAP = 0.18  # of a bar's place
_TICKS = 4
_LEAST = 0.8  # what a count above nothing is high at least, to be seen beside a large one
_LABELS = 6


@frozen
class Box:
    """A part of a bar: how many there were of one series."""

    series: str
    x: float
    y: float
    width: float
    height: float


@frozen(kw_only=True)
class Bar:
    """A span of time, and its counts by series."""

    label: str
    counts: Mapping[str, int]
    boxes: Sequence[Box]

    @property
    def total(self) -> int:
        """All counts."""
        return sum(self.counts.values())


@frozen
class Tick:
    """A line across, and the number that it stands for."""

    y: float
    label: str


@frozen(kw_only=True)
class Chart:
    """A chart, ready to be drawn.

    Attributes:
        bars: Its bars, the oldest first.
        ticks: Its lines across, the lowest first.
        labels: Times below it, in equal distances.
        totals: The counts of each series.
        width: Of the picture, in its own units.
    """

    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    labels: Sequence[str]
    totals: Mapping[str, int]
    width: int


def make_chart(counts: Mapping[str, Sequence[int]], *, since: float, span: float) -> Chart:
    """Lay out a chart.

    Args:
        counts: By series, from the bottom up: the counts of each span.
        since: Epoch seconds at which the first span begins.
        span: Seconds that each lasts.
    """
    spans = list(zip(*counts.values(), strict=True))
    top = _round_up(max((sum(values) for values in spans), default=0))
    bars = []
    for place, values in enumerate(spans):
        found = dict(zip(counts, values, strict=True))
        boxes = tuple(_boxes(found, place, top))
        bars.append(Bar(label=_clock(since + place * span), counts=found, boxes=boxes))
    step = len(spans) / _LABELS
    return Chart(
        bars=bars,
        ticks=[
            Tick(HEIGHT * (1 - number / _TICKS), f"{top * number // _TICKS:,}")
            for number in range(_TICKS + 1)
        ],
        labels=[_clock(since + number * step * span) for number in range(_LABELS + 1)],
        totals={series: sum(values) for series, values in counts.items()},
        width=len(spans),
    )


def _boxes(counts: Mapping[str, int], place: int, top: int) -> list[Box]:
    boxes, bottom = [], HEIGHT
    for series, count in counts.items():
        if count:
            height = max(HEIGHT * count / top, _LEAST)
            bottom -= height
            boxes.append(
                Box(series, place + _GAP / 2, round(max(bottom, 0), 3), 1 - _GAP, round(height, 3))
            )
    return boxes


def _round_up(most: int) -> int:
    """A number from `most` on that reads well, and so do its quarters."""
    if most <= _TICKS:
        return _TICKS
    size = 10 ** math.floor(math.log10(most))
    return next(
        int(size * factor)
        for factor in (1, 1.2, 2, 4, 6, 8, 10, 12)
        if size * factor >= most and size * factor % _TICKS == 0
    )


def _clock(at: float) -> str:
    return time.strftime("%H:%M", time.gmtime(at))
