"""How the pages become a site: `sphinx-build -W --keep-going -b html docs build/site`.

The pages are plain Markdown, for GitHub and editors. What only the site needs is added here, as each
page is read: the navigation from the lists of index.md, the API reference from the docstrings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

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
_ANCHOR = re.compile(r'<a id="(?P<id>[\w-]+)"></a>')


def toctrees(index: str) -> str:
    """The index with a hidden toctree under each heading, of the pages that are listed there."""

    def with_toctree(section: re.Match[str]) -> str:
        pages = _PAGE.findall(section["body"])
        if not pages:
            return section[0]
        tree = "\n".join(("```{toctree}", ":hidden:", f":caption: {section['title']}", "", *pages))
        return f"{section[0].rstrip()}\n\n{tree}\n```\n\n"

    return _SECTION.sub(with_toctree, f"{index}\n")


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


def read_source(_app: Sphinx, page: str, source: list[str]) -> None:
    """What the site needs and plain Markdown does not have."""
    if page == "index":
        source[0] = toctrees(source[0])
    if page == "api":
        source[0] = reference.door(source[0])
    source[0] = anchors(examples(source[0]))


def process_docstring(
    _app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings are written for readers of the source; here is what they mean by it."""
    lines[:] = [_DOCS_PAGE.sub(r":doc:`/\1`", line) for line in lines]
    lines[:] = reference.with_untyped_returns(reference.with_code_blocks(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the above."""
    reference.write_pages(DOCS / "reference")
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
