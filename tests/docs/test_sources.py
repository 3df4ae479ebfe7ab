"""What a page says of others has a source, and the day on which it was read."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if "\n## Sources\n" in page.read_text(encoding="utf-8")
]


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def parts(request):
    text, _, sources = request.param.read_text(encoding="utf-8").partition("\n## Sources\n")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), sources


def numbered(sources):
    """The sources by their numbers."""
    entries = re.split(r"^(\d+)\. ", sources, flags=re.MULTILINE)[1:]
    return {int(number): entry for number, entry in zip(entries[::2], entries[1::2], strict=True)}


def test_numbers_and_sources_belong_together(parts):
    text, sources = parts
    named = {int(number) for number in re.findall(r"(?<!\])\[(\d+)\](?!\()", text)}
    assert named == set(numbered(sources))
    assert list(numbered(sources)) == list(range(1, len(named) + 1))


def test_every_source_is_a_public_address(parts):
    for number, entry in numbered(parts[1]).items():
        assert re.search(r"https://[\w.-]+/", entry), number


def test_files_are_named_at_a_commit(parts):
    for address in re.findall(r"https://github\.com/[^)>\s]+/blob/[^)>\s]+", parts[1]):
        assert re.search(r"/blob/[0-9a-f]{40}/", address), address


def test_the_day_of_reading_is_said(parts):
    assert re.search(r"[Rr]ead on \d{1,2} \w+ 20\d\d", parts[1])
