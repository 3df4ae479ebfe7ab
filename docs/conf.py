"""How the pages become a site: `sphinx-build -W --keep-going -b html docs build/site`.

The pages are plain Markdown, for GitHub and editors. What only the site needs is added here, as each
page is read: the navigation from the lists of index.md, the API reference from the docstrings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import attrs
from docutils import nodes  # type: ignore[import-untyped]  # it ships no types
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import kochava_segment

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import reference  # noqa: E402  # beside this file

project = "kochava-segment"
author = "The kochava-segment maintainers"
version = release = kochava_segment.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
templates_path: list[str] = []
nitpicky = False  # annotations name types of other libraries, whose inventories are not fetched

smartquotes = False  # they make dashes of options

# As GitHub makes anchors of headings.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Beam is half a gigabyte; its classes are documented without it.
autodoc_mock_imports = ["apache_beam"]
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Docstrings write `code` with one backtick; what is a name of ours becomes a link.
default_role = "py:obj"

pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "kochava-segment"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_use_index = False  # the search finds names, and api.md has them by subject
html_domain_indices = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif"},
    "dark_css_variables": {"font-stack": "system-ui, sans-serif"},
}

_SECTION = re.compile(r"^## (?P<title>.+)\n(?P<body>(?:(?!^## ).*\n)*)", re.MULTILINE)
_PAGE = re.compile(r"^- \[[^\]]+\]\(([\w-]+)\.md\)", re.MULTILINE)
_DOCS_PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")
_PROGRAM = re.compile(r"^\[The program\]\((?P<path>\.\./examples/\w+\.py)\)$", re.MULTILINE)
_EXAMPLE = re.compile(r"\]\(\.\./examples/(?P<stem>\w+)\.py\)")
# Pages of the repository that the site has as well.
_PROJECT = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
_PROJECT_LINK = re.compile(rf"\]\(\.\./(?P<name>{'|'.join(_PROJECT)})\.md")
_ATTRS_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")
_ANCHOR = re.compile(r'<a id="(?P<id>[\w-]+)"></a>')


def toctrees(index: str) -> str:
    """The index with a hidden toctree under each heading, of the pages that are listed there."""

    def with_toctree(section: re.Match[str]) -> str:
        pages = _PAGE.findall(section["body"])
        if not pages:
            return section[0]
        tree = "\n".join(("```{toctree}", ":hidden:", f":caption: {section['title']}", "", *pages))
        return f"{section[0].rstrip()}\n\n{tree}\n```\n\n"

    project = "\n".join(f"project/{name.lower()}" for name in _PROJECT)
    return (
        _SECTION.sub(with_toctree, f"{index}\n")
        + f"```{{toctree}}\n:hidden:\n:caption: Project\n\n{project}\n```\n"
    )


def anchors(page: str) -> str:
    """A page whose HTML anchors are targets that Sphinx knows, and checks links against."""

    def target(anchor: re.Match[str]) -> str:
        # Sphinx makes hyphens of underscores: the anchor that GitHub has stays beside its own.
        return f"[]{{#{anchor['id']}}}" + (anchor[0] if "_" in anchor["id"] else "")

    return _ANCHOR.sub(target, page)


def examples(page: str) -> str:
    """A page on which example programs are to be read, not to be downloaded."""
    page = _PROGRAM.sub(r"```{literalinclude} \g<path>\n:language: python\n```", page)
    return _EXAMPLE.sub(r"](examples.md#\g<stem>py)", page)


def write_project_pages(folder: Path) -> None:
    """Bring the pages of the repository's root here, with their links."""
    folder.mkdir(exist_ok=True)
    for name in _PROJECT:
        text = (DOCS.parent / f"{name}.md").read_text(encoding="utf-8")
        page = text.replace("](docs/", "](../")
        path = folder / f"{name.lower()}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")


def read_source(_app: Sphinx, page: str, source: list[str]) -> None:
    """What the site needs and plain Markdown does not have."""
    if page == "index":
        source[0] = toctrees(source[0])
    if page == "api":
        source[0] = reference.door(source[0])
    source[0] = _PROJECT_LINK.sub(
        lambda link: f"](project/{link['name'].lower()}.md", anchors(examples(source[0]))
    )


def process_docstring(
    _app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings are written for readers of the source; here is what they mean by it."""
    lines[:] = [_DOCS_PAGE.sub(r":doc:`/\1`", line) for line in lines]
    lines[:] = reference.with_untyped_returns(reference.with_code_blocks(lines))


def process_signature(
    _app: Sphinx, _what: str, _name: str, value: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Nothing for protocols; for attrs classes, defaults that their `__init__` does not show."""

    def default(name: re.Match[str]) -> str:
        found = getattr(attrs.fields_dict(value)[name[1]], "default", None)
        return "..." if callable(found) or isinstance(found, attrs.Factory) else repr(found)  # type: ignore[arg-type]

    if getattr(value, "_is_protocol", False):  # nobody makes one
        return "", ""
    if not signature or "attr_dict[" not in signature:
        return None
    return _ATTRS_DEFAULT.sub(default, signature), returns


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """A class of ours by its name alone, or by the module in which it is defined."""
    name = str(node.get("reftarget", "")).rpartition(".")[2]
    whole = reference.modules().get(name)
    if node.get("refdomain") != "py" or whole is None or not name[:1].isupper():
        return None
    entry = env.domains.python_domain.objects.get(f"{whole}.{name}")
    if entry is None:
        return None
    page = str(node["refdoc"])
    return make_refnode(app.builder, page, entry.docname, entry.node_id, content, name)


def know_anchors(app: Sphinx, page: nodes.document) -> None:
    """Let links to anchors in the middle of a text be checked; before 5.2, MyST knew headings alone."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for anchor in page.findall(nodes.inline):
        for name in anchor["names"]:
            slugs.setdefault(name, (anchor.line, anchor["ids"][0], name))


def set_dashes(_app: Sphinx, page: nodes.document) -> None:
    """Between a parameter and its meaning; elsewhere two hyphens begin an option."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))  # noqa: RUF001  # a dash is meant


def set_levels(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Headings of the navigation have a level, without which screen readers do not know them."""
    tree = context.get("furo_navigation_tree") or ""
    context["furo_navigation_tree"] = tree.replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the above."""
    reference.write_pages(DOCS / "reference")
    write_project_pages(DOCS / "project")
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", process_signature)
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", know_anchors)
    app.connect("html-page-context", set_levels, priority=900)  # after the theme
    app.connect("doctree-read", set_dashes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
