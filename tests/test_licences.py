"""docs/licences.md: what others wrote and this repository or its users' machines hold."""

import hashlib
import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_FOLDERS = ("kochava_segment", "tests", "docs", "examples", "benchmarks")
_TEXTS = {".py", ".js", ".mjs", ".css", ".html", ".svg", ".c", ".json", ".txt", ""}
_OF_OTHERS = re.compile(r"copyright \(c\)|\(c\) \d{4}|@license|^/\*!", re.IGNORECASE | re.MULTILINE)


def _rows(heading):
    section = (ROOT / "docs/licences.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    lines = section.split("\n## ")[0].splitlines()
    cells = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    return cells[2:]


BROUGHT = _rows("Brought along")
NEEDED = _rows("Needed")


def _brought_along():
    """Whatever says that it is somebody's, or is too dense to have been written here."""
    for folder in _FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if not path.is_file() or path.suffix not in _TEXTS or "__pycache__" in path.parts:
                continue
            head = path.read_text(encoding="utf-8", errors="replace")[:3000]
            if ".min." in path.name or _OF_OTHERS.search(head):
                yield path.relative_to(ROOT).as_posix()


def test_every_file_of_others_is_listed_or_is_the_licence_of_one():
    listed = {cell for file, _, _, text, *_ in BROUGHT for cell in (file, text)}
    ours = {"tests/test_licences.py"}  # which has the words it looks for
    assert set(_brought_along()) - ours <= listed
    assert {file for file, *_ in BROUGHT} <= set(_brought_along())


@pytest.mark.parametrize("row", BROUGHT, ids=lambda row: Path(row[0]).name)
def test_a_file_of_others_is_the_one_that_is_listed_and_its_licence_is_there(row):
    file, _, licence, text, published, digest = row
    assert hashlib.sha256((ROOT / file).read_bytes()).hexdigest() == digest
    assert (ROOT / text).stat().st_size > 500
    if "wheel" in published:
        assert any((ROOT / text) in ROOT.glob(pattern) for pattern in PROJECT["license-files"])
        assert licence in PROJECT["license"].split(" AND ")


def _direct():
    for line in PROJECT["dependencies"]:
        yield Requirement(line).name, "(none)"
    for extra, lines in PROJECT["optional-dependencies"].items():
        if extra not in {"all", "test"}:
            names = (Requirement(line).name for line in lines)
            yield from ((name, extra) for name in names if name != "kochava-segment")


def test_every_direct_dependency_is_listed():
    listed = [(name.split(",")[0], extra) for name, extra, _ in NEEDED]
    assert sorted(listed) == sorted(_direct())


@pytest.mark.parametrize("row", NEEDED, ids=lambda row: row[0].split(",")[0])
def test_a_dependency_has_the_licence_that_is_listed(row):
    name, _, licence = row
    try:
        stated = metadata(name.split(",")[0]).get("License-Expression")
    except PackageNotFoundError:
        pytest.skip("not installed here")
    if stated is None:  # released before there were such expressions
        pytest.skip("it states its licence in words only")
    assert stated == licence
