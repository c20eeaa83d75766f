"""What the moving pages say, in the form in which a test can do it."""

import re
from dataclasses import dataclass
from pathlib import Path

NEITHER = ": there is no such thing, before or after"
DOCS = Path(__file__).parents[3] / "docs" / "moving"


@dataclass(frozen=True)
class Move:
    """One way to go that a page offers. ``before``, ``after``: its settings; ``diffs``: what else changes, by file."""

    page: str
    title: str
    before: str
    after: str
    diffs: tuple[tuple[str, str], ...]
    same: tuple[str, ...]
    neither: tuple[str, ...]  # of these: what there is neither before nor after
    changes: tuple[str, ...]
    options: tuple[str, ...]
    checks: tuple[str, ...]  # that the site does not pass, by the page's own words

    def __str__(self):
        return f"{self.page}-{self.title}"


def fenced(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def part(text, heading):
    """What stands under a heading, up to the next one of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[2]


def rows(text):
    """The first cells of a table's rows."""
    found = re.findall(r"^\| (.+?) \|.*\|$", text, re.MULTILINE)
    return tuple(found[1:])


def diffs(text):
    found = []
    for block in fenced(text, "diff"):
        old, new, change = block.split("\n", 2)
        assert old[:4] == "--- "
        assert new == f"+++ {old[4:]}", block
        found.append((old[4:], change))
    return tuple(found)


def read(page):
    """The ways to go that ``page`` offers: one for each of its sections that begin with "After"."""
    text = page.read_text()
    start, *sections = re.split(r"^## (?=After|Going back)", text, flags=re.MULTILINE)
    (before,) = fenced(start, "python")
    for section in sections:
        if not section.startswith("After"):
            continue
        title = section.partition("\n")[0]
        items = re.findall(r"^- (.+)$", part(section, "What stays the same"), re.MULTILINE)
        yield Move(
            page=page.stem,
            title=title,
            before=before,
            after=fenced(section, "python")[0],
            diffs=diffs(section),
            same=tuple(item.removesuffix(NEITHER) for item in items),
            neither=tuple(item.removesuffix(NEITHER) for item in items if item.endswith(NEITHER)),
            changes=rows(part(section, "What changes")),
            options=rows(part(section, "Options")),
            checks=tuple(re.findall(r"tieredcache\.[EW]\d+", section)),
        )


def patched(text, change):
    """``text`` with a diff applied, whose hunks are found by what they say."""
    for hunk in re.split(r"^@@.*\n", change, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"there is not one place for this:\n{hunk}"
        text = text.replace(old, new)
    return text


MOVES = [move for page in sorted(DOCS.glob("from-*.md")) for move in read(page)]
