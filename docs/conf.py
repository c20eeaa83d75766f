"""How Sphinx makes the site of these pages: ``make docs`` writes it to ``build/docs``.

The pages are plain Markdown, to be read as they are, too. So the site's navigation is not written into them: it is what the
front page lists, under its own headings.
"""

from __future__ import annotations

import ast
import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
modules: set[str] = set()  # that the pages link to

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
nitpick_ignore_regex = [
    ("py:.*", r"(?!tieredcache\.).*"),
    ("py:class", r"tieredcache\.(freshness\.Function|lookups\.table\.(Default|Row))"),
]

html_theme = "furo"
html_title = f"tieredcache {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def navigation(page: str, names: set[str]) -> str:
    """A hidden table of contents for each heading of the front page: the pages that are linked below it."""
    sections = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        sections[title] = re.findall(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)", text, flags=re.MULTILINE)
    listed = {name for names in sections.values() for name in names}
    sections["More"] = sorted(names - listed - {"index"})
    return "\n\n".join(contents(f":caption: {title}", *found) for title, found in sections.items() if found)


def contents(*lines: str) -> str:
    """A hidden table of contents: its options, and its pages."""
    return "\n".join(["```{toctree}", ":hidden:", *lines, "```"])


def map_of_modules() -> str:
    """A table of all modules: a link to the source of each, and what the first line of its docstring says."""
    rows = ["| module | what it is for |", "|---|---|"]
    for path in sorted((ROOT / "tieredcache").rglob("*.py")):
        if text := ast.get_docstring(ast.parse(path.read_text())):
            name = path.relative_to(ROOT).as_posix()
            rows.append(f"| [`{name.partition('/')[2]}`](../{name}) | {text.splitlines()[0].replace('``', '`')} |")
    return "\n".join(rows)


def read_source(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the navigation to the front page; fill in the map of modules; lead links to the changelog to its copy."""
    source[0] = source[0].replace("](../CHANGELOG.md)", "](changelog.md)").replace("<!-- modules -->", map_of_modules())
    if name == "index":
        source[0] += f"\n\n{navigation(source[0], app.env.found_docs)}\n"


def show_modules(app: Sphinx, doctree: nodes.document) -> None:
    """Lead links to modules, which would be downloads, to pages that show them."""
    for link in list(doctree.findall(addnodes.download_reference)):
        path = (Path(app.srcdir) / app.env.docname).parent / link["reftarget"]
        if path.suffix == ".py":
            page = f"code/{path.resolve().relative_to(ROOT).with_suffix('')}"
            modules.add(page)
            up = "../" * app.env.docname.count("/")
            link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=f"{up}{page}.html"))


def pages_of_modules(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Those that are linked."""
    for page in sorted(modules):
        path = Path(page).relative_to("code").with_suffix(".py")
        shown = app.builder.highlighter.highlight_block((ROOT / path).read_text(), "python", linenos="inline")
        yield page, {"title": str(path), "body": f'<h1>{path}</h1><div class="module">{shown}</div>'}, "page.html"


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", read_source)
    app.connect("doctree-read", show_modules, priority=400)  # before Sphinx collects what is to be downloaded
    app.connect("html-collect-pages", pages_of_modules)
