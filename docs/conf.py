"""How Sphinx makes the site of these pages: ``make docs`` writes it to ``build/docs``.

The pages are plain Markdown, to be read as they are, too. So the site's navigation is not written into them: it is what the
front page lists, under its own headings.
"""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "tieredcache"
copyright = "2026, the tieredcache developers"  # noqa: A001 - Sphinx' name
release = version = installed("django-tieredcache")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 3  # links to headings are made as code hosts make them

autodoc_preserve_defaults = True  # a default by its name, not by the address that a sentinel happens to have
autodoc_typehints = "signature"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
# Types of others, whose documentation would have to be fetched, and the site is made without a network; and type variables.
nitpick_ignore_regex = [("py:.*", r"(?!tieredcache\.).*"), ("py:class", r"tieredcache\.(freshness\.Function|lookups\.Row)")]

html_theme = "furo"
html_title = f"tieredcache {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def navigation(page: str) -> str:
    """A hidden table of contents for each heading of the front page: the pages that are linked below it."""
    made = []
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        pages = re.findall(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)", text, flags=re.MULTILINE)
        if pages:
            made.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", *pages, "```"]))
    return "\n\n".join(made)


def read_source(_: Sphinx, name: str, source: list[str]) -> None:
    """Append the navigation to the front page; lead links to the changelog to its copy in the site."""
    source[0] = source[0].replace("](../CHANGELOG.md)", "](changelog.md)")
    if name == "index":
        source[0] += f"\n\n{navigation(source[0])}\n"


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", read_source)
