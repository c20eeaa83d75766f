"""The tables of the documentation: Markdown between markers that name the command they come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCS = Path(__file__).parents[2] / "docs"
PERFORMANCE, ASYNC, PREFETCH = (DOCS / f"{name}.md" for name in ("performance", "async", "prefetch"))
END = "<!-- end of figures -->"


def table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    """In Markdown: names in the first column, numbers in the others."""
    head = list(head)
    first, *others = [f"| {' | '.join(line)} |" for line in [head, *body]]
    return "\n".join([first, "|---|" + "---:|" * (len(head) - 1), *others])


def write(page: Path, command: str, text: str, *, kind: str = "figures", check: bool = False) -> bool:
    """Put ``text`` between the markers of ``command`` on ``page``; whether the page said something else.

    ``check``: the page is left as it is. Raises ``ValueError`` where the page has no such marker.
    """
    before, begin, rest = (old := page.read_text()).partition(f"<!-- {kind}: {command} -->")
    if not begin:
        raise ValueError(f"{page} has no marker for the {kind} of {command!r}")
    new = f"{before}{begin}\n\n{text}\n\n{END}{rest.partition(END)[2]}"
    if not check:
        page.write_text(new)
    return new != old
