"""The pages are true to the code."""

import ast
import importlib.util
import re
from pathlib import Path

import attrs
import pytest

import kochava_segment
from kochava_segment import FilterReason, Options, OutcomeKind, errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PACKAGE = Path(kochava_segment.__file__).parent


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_fresh(page, generate):
    text = page.read_text(encoding="utf-8")
    stale = generate.generated(text) != text  # not compared in the assert: pages make long reports
    assert not stale, f"{page.name} is stale: run python docs/generate.py"


def test_every_generated_part_is_on_a_page(generate):
    placed = re.findall(r"<!-- generated: ([a-z-]+) -->", "".join(map(Path.read_text, PAGES)))
    assert sorted(placed) == sorted(generate.BLOCKS)


def test_a_stale_part_is_noticed(generate):
    page = (DOCS / "mapping.md").read_text(encoding="utf-8")
    assert generate.generated(page.replace("| apple |", "| pear |")) == page


def warning_codes():
    """The codes of all warnings in the package, with the modules that give them."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", None))
            if name not in ("warn", "MappingWarning"):
                continue
            if isinstance(call.args[0], ast.Constant):
                yield call.args[0].value
            else:  # the two that hand a code on; any other would hide one from this test
                assert path.name == "message.py", f"{path.name}:{call.lineno} has no literal code"


def anchors(page):
    """What can be linked to on a page, as the usual renderers of Markdown name it."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_every_warning_has_its_entry_and_no_other():
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### (\S+)$", page.partition("\n## Warnings\n")[2], re.MULTILINE)
    assert entries == sorted(set(warning_codes()))


def test_every_reason_outcome_and_error_has_its_entry():
    there = anchors(DOCS / "errors.md")
    wanted = {value.lower() for value in (*FilterReason, *OutcomeKind)}
    leaves = {
        error.__name__.lower()
        for error in map(vars(errors).get, errors.__all__)
        if issubclass(error, errors.KochavaSegmentError) and not error.__subclasses__()
    }
    assert wanted | leaves <= there


def test_every_option_is_described():
    page = (DOCS / "options.md").read_text(encoding="utf-8")
    missing = [field.name for field in attrs.fields(Options) if f"| `{field.name}`<br>" not in page]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def test_the_index_links_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_are_of_kinds_that_run(page):
    kinds = set(re.findall(r"^```(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert kinds <= {"python", "sh", "text"}
