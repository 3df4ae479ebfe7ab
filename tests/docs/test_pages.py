"""The pages are true to the code."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import diagrams  # of docs
import pytest
from import_graph import without_detours

import kochava_segment
from kochava_segment import Options
from kochava_segment.delivery.outbox_inspection import STATES
from kochava_segment.emulator import Faults

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"))]
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


def anchors(page):
    """What can be linked to on a page, as the usual renderers of Markdown name it."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_every_fault_of_the_emulator_is_described():
    page = (DOCS / "emulator.md").read_text(encoding="utf-8")
    described = re.findall(
        r"^\| `([a-z-]+)` \|", page.partition("## What it checks")[0], re.MULTILINE
    )
    settings = {field.name for field in attrs.fields(Faults)}
    rates = {name.replace("-", "_") for name in described}
    assert rates <= settings
    # What the others set is told with the fault that they belong to.
    assert settings - rates == {
        *("error_rate", "error_status", "retry_after", "script", "seed", "trickle_delay"),
    }


def test_every_option_is_described():
    page = (DOCS / "options.md").read_text(encoding="utf-8")
    missing = [field.name for field in attrs.fields(Options) if f"| `{field.name}`<br>" not in page]
    assert missing == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def test_the_index_has_every_page_in_one_group():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    groups = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", index, re.MULTILINE))
    assert list(groups) == ["Tutorials", "How-to guides", "Reference", "Explanation"]
    listed = re.findall(r"^- \[[^\]]+\]\(([\w-]+\.md)\)", "".join(groups.values()), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md") if page.stem != "index")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_are_of_kinds_that_run(page):
    kinds = set(re.findall(r"^```(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert kinds <= {"python", "sh", "text"}


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_diagrams_are_fresh(name):
    committed = (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8")
    stale = committed != diagrams.DIAGRAMS[name]()
    assert not stale, f"{name}.svg is stale: run python docs/generate.py"


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_diagrams_stay_within_their_ground(name):
    picture = ET.fromstring(diagrams.DIAGRAMS[name]())
    width, height = (float(picture.attrib[side]) for side in ("width", "height"))
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        left, top = float(box.get("x", 0)), float(box.get("y", 0))
        assert 0 <= left <= left + float(box.attrib["width"]) <= width
        assert 0 <= top <= top + float(box.attrib["height"]) <= height


def test_every_picture_is_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    unused = [path.name for path in (DOCS / "images").iterdir() if path.name not in pages]
    assert unused == []


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_diagrams_name_files_that_exist(name):
    there = {path.name for path in PACKAGE.rglob("*.py")}
    assert set(re.findall(r"\b\w+\.py\b", diagrams.DIAGRAMS[name]())) <= there


def test_the_architecture_names_files_that_exist():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Rooms")[0]
    there = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    there |= {path.rpartition("/")[2] for path in there}
    named = re.findall(r"`([\w/]+\.py)`", page)
    assert named
    assert set(named) <= there


def test_the_diagram_of_states_has_them_all():
    drawn = re.findall(r'<text x="[\d.]+" y="[\d.]+">([a-z ]+)<', diagrams.outbox_states())
    assert set(STATES) <= set(drawn) <= {*STATES, "enqueue"}


def test_imports_that_others_show_are_left_out_of_the_diagram():
    floors = (("top",), ("middle",), ("low", "aside"))
    edges = {("top", "middle"), ("middle", "low"), ("top", "low"), ("top", "aside")}
    assert without_detours(edges, floors) == edges - {("top", "low")}
