"""The threat model claims nothing that no test or file stands behind."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
FILES = sorted(set(re.findall(r"`((?:tests|kochava_segment|\.ci)/[\w/.]+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda part: part.rpartition("/")[2])
def test_a_test_that_is_named_is_there(file, name):
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_named_is_there(file):
    assert (ROOT / file).exists()


def test_every_line_of_what_protects_names_what_holds_it():
    protects = PAGE.partition("## What stands against it\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|(?! Threat| ---| Where).*\|$", protects, re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        assert re.search(r"`tests/|#what-was-looked-for", row.rstrip("|").rpartition("|")[2]), row
