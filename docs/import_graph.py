"""The import graph of the package as a picture: rooms on their floors, for `diagrams.py`."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define
from drawing import Drawing  # beside this file

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "kochava_segment"
_TOP, _HEIGHT, _STEP, _GAP = 16, 30, 66, 20
_SWEEPS = 12

Edges = set[tuple[str, str]]


@define
class _Node:
    """A room, or the place where a long arrow passes a floor."""

    name: str
    width: float
    middle: float = 0.0


def imports() -> str:
    """Which room of the package imports which, floor by floor."""
    floors = floors_of_the_tests()
    edges = without_detours(edges_between(floors), floors)
    rows, chains = _laid_out(floors, edges)
    nodes = [node for row in rows for node in row]
    width = max(map(_width_of, rows))
    height = 2 * _TOP + _STEP * (len(floors) - 1) + _HEIGHT
    drawing = Drawing(round(width), height, "Which room of the package imports which")
    top_of = {node.name: _TOP + _STEP * level for level, row in enumerate(rows) for node in row}
    for chain in chains:
        drawing.curve(
            [(node.middle, top_of[node.name]) for node in chain], room_height=float(_HEIGHT)
        )
    for node in nodes:
        if node.width < _GAP:  # only passed by
            continue
        place = (node.middle - node.width / 2, top_of[node.name], node.width, float(_HEIGHT))
        drawing.box(place, node.name, kind="ours" if (_PACKAGE / node.name).is_dir() else "box")
    return drawing.svg()


def floors_of_the_tests() -> list[tuple[str, ...]]:
    """The floors, as the tests hold them: a room imports those of the floors below alone."""
    source = (_ROOT / "tests" / "test_package.py").read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "FLOORS":
            return list(ast.literal_eval(statement.value))
    raise LookupError("tests/test_package.py has no FLOORS")


def edges_between(floors: Sequence[Sequence[str]]) -> Edges:
    """Which room imports which, of a floor below its own."""
    level = {name: number for number, rooms in enumerate(floors) for name in rooms}
    found = set()
    for path in _PACKAGE.rglob("*.py"):
        importer = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
        for imported in _imported_rooms(path):
            if level.get(importer, len(floors)) < level.get(imported, -1):
                found.add((importer, imported))
    return found


def _imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")[1:2]
            if node.module == _PACKAGE.name:
                yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if "." in alias.name)


def without_detours(edges: Edges, floors: Sequence[Sequence[str]]) -> Edges:
    """Without those imports that a way through other rooms shows already."""
    below: dict[str, set[str]] = {}
    for rooms in reversed(floors):
        for name in rooms:
            direct = {imported for importer, imported in edges if importer == name}
            below[name] = direct.union(*(below[other] for other in direct))
    return {
        (importer, imported)
        for importer, imported in edges
        if not any(
            imported in below[other]
            for start, other in edges
            if start == importer and other != imported
        )
    }


def _laid_out(
    floors: Sequence[Sequence[str]], edges: Edges
) -> tuple[list[list[_Node]], list[list[_Node]]]:
    """The rows of the picture, and for each arrow the nodes that it goes along."""
    rows = [[_Node(name, len(name) * 8.2 + 22) for name in rooms] for rooms in floors]
    at = {node.name: (level, node) for level, row in enumerate(rows) for node in row}
    chains = []
    for importer, imported in sorted(edges):
        (first, begin), (last, end) = at[importer], at[imported]
        passing = [_Node(f"{importer} {imported} {level}", 6.0) for level in range(first + 1, last)]
        for level, node in enumerate(passing, first + 1):
            rows[level].append(node)
        chains.append([begin, *passing, end])
    above: dict[str, list[_Node]] = {}
    below: dict[str, list[_Node]] = {}
    for chain in chains:
        for upper, lower in itertools.pairwise(chain):
            below.setdefault(upper.name, []).append(lower)
            above.setdefault(lower.name, []).append(upper)
    width = max(map(_width_of, rows))
    for node in itertools.chain(*rows):
        node.middle = width / 2
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _arrange(row, above if down else below, width)
    for row in rows:  # at last, between what is above and what is below
        _arrange(
            row, {node.name: _neighbours(node, above, below) for node in row}, width, sort=False
        )
    return rows, chains


def _width_of(row: Sequence[_Node]) -> float:
    return sum(node.width for node in row) + _GAP * (len(row) + 1)


def _neighbours(node: _Node, *sides: dict[str, list[_Node]]) -> list[_Node]:
    return [other for side in sides for other in side.get(node.name, [])]


def _arrange(
    row: list[_Node], pulls: dict[str, list[_Node]], width: float, *, sort: bool = True
) -> None:
    """Put the nodes of a row where others pull them, side by side and within a width."""
    wanted = {}
    for node in row:
        others = pulls.get(node.name) or [node]
        wanted[node.name] = sum(other.middle for other in others) / len(others)
    if sort:
        row.sort(key=lambda node: (wanted[node.name], node.name))
    # Pushed apart to the right, and to the left; in the middle of both they are apart as well.
    to_right = _apart([(wanted[node.name], node.width) for node in row], width)
    mirrored = _apart([(width - wanted[node.name], node.width) for node in reversed(row)], width)
    for node, right, left in zip(row, to_right, reversed(mirrored), strict=True):
        node.middle = (right + width - left) / 2


def _apart(wanted: Sequence[tuple[float, float]], width: float) -> list[float]:
    """Middles as near to those that are wanted as the widths allow, pushed to the right."""
    middles = []
    end = 0.0
    for middle, wide in wanted:
        middles.append(max(middle, end + _GAP + wide / 2))
        end = middles[-1] + wide / 2
    limit = width
    for number in reversed(range(len(wanted))):  # back, where that pushed them too far
        wide = wanted[number][1]
        middles[number] = min(middles[number], limit - _GAP - wide / 2)
        limit = middles[number] - wide / 2
    return middles
