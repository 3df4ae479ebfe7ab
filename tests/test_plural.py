"""Numbers with what they count."""

import re
from pathlib import Path

import pytest

import kochava_segment
from kochava_segment.plural import counted

PACKAGE = Path(kochava_segment.__file__).parent
WORDS = "attempts|days|devices|duplicates|events|fields|messages|requests|times|warnings"
# Constants, which are in capitals, are more than one.
PLURAL = re.compile(rf"\{{[^{{}}A-Z]+\}}+ (?:\w+ )?(?:{WORDS})\b(?!/s)")


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 requests"), (1, "1 request"), (12_345, "12,345 requests")]
)
def test_one_is_no_plural(number, words):
    assert counted(number, "request") == words


def test_no_text_for_people_takes_a_number_for_more_than_one():
    files = [
        path
        for folder in ("cli", "server")
        for path in (PACKAGE / folder).rglob("*")
        if path.suffix in (".py", ".html")
    ]
    found = {path.name: PLURAL.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {name: texts for name, texts in found.items() if texts} == {}
    assert len(files) > 50
