"""Boxes and arrows as SVG that can be read on light and on dark ground, for `diagrams.py`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape

_STYLE = """
text { fill: #1f2328; font: 600 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; text-anchor: middle }
.small { fill: #57606a; font-size: 11px; font-weight: 400 }
.start { text-anchor: start }
.ground { fill: #ffffff } .head { fill: #57606a }
.line { stroke: #57606a; fill: none; stroke-width: 1.3 }
.frame { fill: none; stroke: #8c959f; stroke-dasharray: 5 4 }
.box { fill: #f6f8fa; stroke: #8c959f }
.ours { fill: #ddf4ff; stroke: #0969da } .theirs { fill: #fff8c5; stroke: #9a6700 }
.good { fill: #dafbe1; stroke: #1a7f37 } .bad { fill: #ffebe9; stroke: #cf222e }
.label { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #b1bac4 }
.ground { fill: #0d1117 } .head { fill: #9198a1 } .line { stroke: #9198a1 }
.frame { stroke: #656c76 } .box { fill: #151b23; stroke: #656c76 }
.ours { fill: #121d2f; stroke: #4493f8 } .theirs { fill: #272115; stroke: #d29922 }
.good { fill: #12261e; stroke: #3fb950 } .bad { fill: #25171c; stroke: #f85149 }
.label { stroke: #0d1117 }
}
"""
_LINE = 16  # between lines of text

Point = tuple[float, float]


class Drawing:
    """A picture that is being drawn.

    Args:
        width: In pixels, as all measures.
        height: Likewise.
        title: What it shows, for those who do not see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
            ),
            f"<style>{_STYLE}</style>",
            (
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/>'
                "</marker></defs>"
            ),
            f'<rect class="ground" width="{width}" height="{height}" rx="8"/>',
        ]

    def box(
        self, place: tuple[float, float, float, float], title: str, *lines: str, kind: str = "box"
    ) -> None:
        """A box with a title and smaller lines below it.

        Args:
            place: Its left, its top, its width and its height.
            title: The first line.
            lines: The others.
            kind: A class of the style sheet: box, ours, theirs, good, bad.
        """
        left, top, width, height = place
        self._parts.append(
            f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:g}" '
            f'height="{height:g}" rx="6"/>'
        )
        middle = left + width / 2
        first = top + height / 2 - _LINE * len(lines) / 2 + 4.5
        self.text((middle, first), title, "")
        for number, line in enumerate(lines, 1):
            self.text((middle, first + _LINE * number), line)

    def frame(self, place: tuple[float, float, float, float], title: str) -> None:
        """A dashed frame around what belongs together."""
        left, top, width, height = place
        self._parts.append(
            f'<rect class="frame" x="{left:g}" y="{top:g}" width="{width:g}" '
            f'height="{height:g}" rx="8"/>'
        )
        self.text((left + 12, top + 18), title, "start")

    def text(self, at: Point, text: str, kind: str = "small") -> None:
        """A line of text; its middle, or its beginning if it is of the kind `start`."""
        named = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text{named} x="{at[0]:g}" y="{at[1]:g}">{escape(text)}</text>')

    def arrow(
        self, *points: Point, label: str = "", at: Point | None = None, both: bool = False
    ) -> None:
        """An arrow through points.

        Args:
            points: From where, by where, to where.
            label: What stands beside it.
            at: The middle of the label; by default that of the first stretch.
            both: It points both ways.
        """
        way = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._draw_arrow(way, both=both)
        if label:
            (left, top), (right, bottom) = points[:2]
            self.label(at or ((left + right) / 2, (top + bottom) / 2 - 6), label)

    def curve(self, tops: Sequence[Point], *, room_height: float) -> None:
        """An arrow down from a box to another, past what stands between.

        Args:
            tops: The middle of the upper edge of each box or gap on its way.
            room_height: The height of boxes and gaps.
        """
        way = ""
        for (x, top), (to, below) in itertools.pairwise(tops):
            above = top + room_height
            bend = (below - above) * 0.5
            way += f"L{x:.1f} {above:g}" if way else f"M{x:.1f} {above:g}"
            way += f"C{x:.1f} {above + bend:g} {to:.1f} {below - bend:g} {to:.1f} {below:g}"
        self._draw_arrow(way)

    def _draw_arrow(self, way: str, *, both: bool = False) -> None:
        begin = ' marker-start="url(#head)"' if both else ""
        self._parts.append(f'<path class="line" d="{way}"{begin} marker-end="url(#head)"/>')

    def label(self, at: Point, label: str) -> None:
        """A text over lines, which may be several."""
        for number, line in enumerate(label.split("\n")):
            self.text((at[0], at[1] + 14 * number), line, "small label")

    def svg(self) -> str:
        """The picture as text."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"
