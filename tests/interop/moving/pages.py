"""What the page on moving says, in the form in which a test can do it."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "moving.md"


@dataclass(frozen=True)
class Move:
    """One way to go. ``before``, ``after``: its settings; ``diffs``: what else changes, by file."""

    name: str
    before: str
    after: str
    diffs: tuple[tuple[str, str], ...]
    same: tuple[str, ...]
    neither: tuple[str, ...]  # of these: what there is neither before nor after
    changes: tuple[str, ...]
    options: tuple[str, ...]
    checks: tuple[str, ...]  # that the site does not pass, by the page's own words

    def __str__(self):
        return self.name


def fenced(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def part(text, heading):
    """What stands under a heading, up to the next one of its rank or above."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def ways(cell, names):
    """The ways to go that a cell or a bracket speaks of."""
    named = set(re.findall(r"`([\w-]+)`", cell))
    assert named <= set(names), cell
    if cell == "all":
        return set(names)
    assert named, cell
    return set(names) - named if cell.startswith("all but ") else named


def rows(text, name, names):
    """The first cells of the rows of a table whose second cells speak of this way."""
    found = re.findall(r"^\| (.+?) \| (.+?) \|.*\|$", text, re.MULTILINE)
    return tuple(first for first, cell in found[1:] if name in ways(cell, names))


def diffs(text):
    found = []
    for block in fenced(text, "diff"):
        old, new, change = block.split("\n", 2)
        assert old[:4] == "--- "
        assert new == f"+++ {old[4:]}", block
        found.append((old[4:], change))
    return tuple(found)


def stays(text):
    """What the list says: titles; and the ways by which there is no such thing, with its titles."""
    _, listed, _, neither = text.strip().split("\n\n")
    bullets = re.findall(r"^- (.+?): (.+)$", neither.replace("\n  ", " "), re.MULTILINE)
    return listed.replace("\n", " ").removesuffix(".").split("; "), {cell: items.split("; ") for cell, items in bullets}


def sections(text):
    """A way's name, what is said for all ways from the same place, and what for this one."""
    for section in re.split(r"^## (?=From )", text, flags=re.MULTILINE)[1:]:
        start, *parts = re.split(r"^### ", re.split(r"^## ", section, flags=re.MULTILINE)[0], flags=re.MULTILINE)
        for each in parts or [start]:
            (name,) = re.findall(r": `([\w-]+)`$", each.partition("\n")[0])
            yield name, start, each if parts else ""


def read(text):
    """The ways to go that the page offers: one for each heading that ends with a name."""
    names = [name for name, _, _ in sections(text)]
    assert len(set(names)) == len(names)
    every, changing, staying, options = (
        part(text, heading) for heading in ("Every way", "What changes", "What stays the same", "Where the options go")
    )
    (usual,) = fenced(every, "python")
    titles, neither = stays(staying)
    same = [*titles, *dict.fromkeys(title for name in names for title in rows(changing, name, names))]
    for name, start, own in sections(text):
        before, *after = [*fenced(start, "python"), *fenced(own, "python")]
        assert len(after) <= 1, name
        changes = rows(changing, name, names)
        yield Move(
            name=name,
            before=before,
            after=after[0] if after else usual,
            diffs=(*diffs(every), *diffs(start), *diffs(own)),
            same=tuple(title for title in same if title not in changes),
            neither=tuple(title for cell, titles in neither.items() if name in ways(cell, names) for title in titles),
            changes=changes,
            options=rows(options, name, names),
            checks=tuple(re.findall(r"tieredcache\.[EW]\d+", start + own)),
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


MOVES = list(read(PAGE.read_text()))
