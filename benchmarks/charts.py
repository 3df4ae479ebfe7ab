"""Charts as SVG: bars, and lines in panels. Nothing but text, so that nothing has to be installed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

# Told apart by people who see colours otherwise, too (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_OURS, _OTHERS = _COLOURS[0], "#9a9a9a"
_STYLE = "font-family='sans-serif' font-size='13'"
_WIDTH = 760
_NAMES = 230  # pixels for the names of bars
_BAR = 22
_PANEL = (330, 230)
_MARGIN = (58, 34)  # pixels left of a panel, and above it


@frozen
class Bar:
    """A bar.

    Attributes:
        name: What it stands for.
        value: How long it is.
        text: The value as it is written.
        ours: Whether it is to stand out.
    """

    name: str
    value: float
    text: str
    ours: bool


@frozen
class Panel:
    """Lines over a logarithmic axis.

    Attributes:
        title: Above it.
        lines: By name, points of x and y, both positive.
        across: What the horizontal axis says.
    """

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    across: str


def bars(title: str, values: Iterable[Bar]) -> str:
    """Horizontal bars, as they come."""
    values = list(values)
    longest = max(bar.value for bar in values)
    room = _WIDTH - _NAMES - 90
    parts = [_text(8, 22, title, weight="bold")]
    for number, bar in enumerate(values):
        y = 38 + number * (_BAR + 6)
        length = max(1.0, room * bar.value / longest)
        colour = _OURS if bar.ours else _OTHERS
        parts += [
            _text(_NAMES - 8, y + 16, bar.name, anchor="end"),
            f"<rect x='{_NAMES}' y='{y}' width='{length:.1f}' height='{_BAR}' fill='{colour}'/>",
            _text(_NAMES + length + 6, y + 16, bar.text),
        ]
    return _image(_WIDTH, 46 + len(values) * (_BAR + 6), parts)


def lines(title: str, panels: Sequence[Panel]) -> str:
    """Panels side by side, two in a row, with one legend."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    # One alone has all the width.
    width = _PANEL[0] if len(panels) > 1 else _WIDTH - 2 * _MARGIN[0]
    parts = [_text(8, 22, title, weight="bold")]
    across = 8.0
    for name, colour in colours.items():
        parts += [
            f"<rect x='{across:.0f}' y='35' width='14' height='5' fill='{colour}'/>",
            _text(across + 19, 42, name),
        ]
        across += 40 + 7.2 * len(name)
    for number, panel in enumerate(panels):
        x, y = (number % 2) * (_PANEL[0] + 44), 54 + (number // 2) * (_PANEL[1] + 76)
        parts.append(f"<g transform='translate({x + _MARGIN[0]},{y + _MARGIN[1]})'>")
        parts += _panel(panel, colours, width)
        parts.append("</g>")
    rows = math.ceil(len(panels) / 2)
    return _image(max(_WIDTH, int(across)), 60 + rows * (_PANEL[1] + 76), parts)


def _panel(panel: Panel, colours: Mapping[str, str], width: int) -> Iterable[str]:
    height = _PANEL[1]
    points = [point for line in panel.lines.values() for point in line]
    places = sorted({x for x, _ in points})
    first, last = math.log(places[0]), math.log(places[-1])
    top = _rounded(max(y for _, y in points))

    def place(x: float) -> float:
        return width * (math.log(x) - first) / (last - first) if last > first else width / 2

    yield _text(0, -12, panel.title, weight="bold")
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = height * (1 - share)
        yield f"<line x1='0' y1='{y:.1f}' x2='{width}' y2='{y:.1f}' stroke='#dddddd'/>"
        yield _text(-6, y + 4, f"{top * share:,.0f}", anchor="end")
    for x in places:
        yield _text(place(x), height + 17, f"{x:,.0f}", anchor="middle")
    yield _text(width / 2, height + 34, panel.across, anchor="middle")
    for name, line in panel.lines.items():
        path = [f"{place(x):.1f},{height * (1 - y / top):.1f}" for x, y in line]
        colour = colours[name]
        joined = " ".join(path)
        yield f"<polyline points='{joined}' fill='none' stroke='{colour}' stroke-width='2'/>"
        for point in path:
            x_text, _, y_text = point.partition(",")
            yield f"<circle cx='{x_text}' cy='{y_text}' r='3' fill='{colour}'/>"


def _rounded(value: float) -> float:
    """The next number up that reads well on an axis."""
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * power >= value)


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-weight='{weight}'>"
        f"{escape(text)}</text>"
    )


def _image(width: int, height: int, parts: Iterable[str]) -> str:
    # Its own background: pages may be dark.
    return "\n".join(
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {_STYLE}>",
            f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
            *parts,
            "</svg>\n",
        )
    )
