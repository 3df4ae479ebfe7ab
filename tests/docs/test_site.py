"""The pages as a site: built without warnings, whole, and of use without a network."""

import importlib.util
import re
import time
from pathlib import Path

import pytest

import kochava_segment

pytestmark = pytest.mark.slow  # it builds the site, and looks at every page in a browser

ROOT = Path(__file__).parents[2]
AXE = (ROOT / "tests" / "server" / "console" / "axe" / "axe.min.js").read_text(encoding="utf-8")
# What makes a browser fetch something; links that a person may follow are no such thing.
LOADED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def conf():
    """docs/conf.py as a module."""
    pytest.importorskip("sphinx", reason="the site needs the dependency group docs")
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_there(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page.name


def test_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert pages
    for page in pages:
        assert not LOADED.search(page.read_text(encoding="utf-8")), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)[\s\"']*(?:https?:)?//", sheet.read_text("utf-8"))


def test_every_public_name_is_in_the_reference(site):
    pages = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    missing = [
        name
        for name in kochava_segment.__all__
        if name != "__version__" and f'id="kochava_segment.{name}"' not in pages
    ]
    assert missing == []


def test_tables_of_names_lead_to_the_reference(site):
    door = (site / "api.html").read_text(encoding="utf-8")
    for name in ("KochavaDestination", "beam.WriteToKochava", "segment.webhook.is_signed"):
        assert f'.html#kochava_segment.{name}"' in door


def test_the_navigation_is_the_index(site):
    page = (site / "quickstart.html").read_text(encoding="utf-8")
    captions = re.findall(r'class="caption-text">([^<]+)<', page)
    assert captions == ["Tutorials", "How-to guides", "Reference", "Explanation", "Project"]


def test_a_section_of_the_index_becomes_a_toctree(conf):
    index = "# Title\n\n- [Not here](x.md)\n\n## Reference\n\n- [A](a.md): it\n\n### More\n\n- [B](b-c.md)\n"
    tree = "```{toctree}\n:hidden:\n:caption: Reference\n\na\nb-c\n```\n\n"
    assert conf.toctrees(index).startswith(f"{index}\n{tree}```{{toctree}}\n")


def test_examples_are_read_on_the_site(conf):
    assert conf.examples("[The program](../examples/a_b.py)\n") == (
        "```{literalinclude} ../examples/a_b.py\n:language: python\n```\n"
    )
    assert conf.examples("See [it](../examples/a_b.py).") == "See [it](examples.md#a_bpy)."


def test_examples_in_docstrings_are_code():
    import reference

    docstring = ["Do it.", "", "    do()", "", "    again()", "", "Args:", "    x: A thing."]
    assert reference.with_code_blocks(docstring) == [
        "Do it.",
        "",
        ".. code-block:: python",
        "",
        *docstring[2:],
    ]


def found(browser, word, page):
    """Search as a person would; the titles that are found, once the page is among them."""
    box = browser.find_element("css selector", "input.sidebar-search")
    box.send_keys(word)
    box.submit()
    titles = []
    deadline = time.monotonic() + 20
    while page not in titles and time.monotonic() < deadline:
        time.sleep(0.1)
        results = browser.find_elements("css selector", "#search-results ul.search > li > a")
        titles = [result.text for result in results]
    return titles


def test_the_search_works_from_the_disk(site, chromium):
    chromium.set_window_size(1280, 900)
    chromium.get((site / "index.html").as_uri())
    assert "Delivery guarantees" in found(chromium, "idempotency", "Delivery guarantees")


def test_names_are_found(site, chromium):
    chromium.set_window_size(1280, 900)
    chromium.get((site / "index.html").as_uri())
    name = "kochava_segment.RetryPolicy"
    assert name in found(chromium, "RetryPolicy", name)


def test_the_reference_shows_the_defaults_of_options(site):
    page = re.sub(r"<[^>]+>", "", (site / "reference" / "delivery.html").read_text("utf-8"))
    assert "max_attempts: int = 5" in page
    assert "attr_dict" not in page


def test_the_reference_links_classes_by_their_name_alone(site):
    page = (site / "reference" / "beam.html").read_text(encoding="utf-8")
    assert 'href="destinations.html#kochava_segment.KochavaDestination"' in page


@pytest.mark.parametrize("width", [390, 1280])  # a telephone, and a usual window
def test_no_page_is_wider_than_the_screen(site, chromium, width):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    too_wide = []
    for page in sorted(site.rglob("*.html")):
        chromium.get(page.as_uri())
        if chromium.execute_script(
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        ):
            too_wide.append(page.name)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert too_wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index", "errors", "architecture", "examples"])
def test_everybody_can_read_it(site, chromium, page, scheme):
    prefers = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": prefers})
    chromium.get((site / f"{page}.html").as_uri())
    chromium.execute_script(AXE)
    # Browsers let keyboards scroll code and tables by themselves.
    found = chromium.execute_async_script(
        "const done = arguments[0];"
        "axe.run({runOnly: ['wcag2a', 'wcag2aa'],"
        " rules: {'scrollable-region-focusable': {enabled: false}}})"
        ".then(result => done(result.violations.map(one => one.id)))"
    )
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found == []
