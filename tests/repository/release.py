"""What must hold of the files to publish, besides what twine and check-wheel-contents look at (``make release-check``).

    python -m tests.repository.release DIST [--release]

With ``--release``, of those of a release: the changelog's newest version is the package's, and nothing is unreleased.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from email import message_from_bytes
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
RELEASE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})")


def changelog_problems(text, version, *, releasing=False):
    """In what the changelog is not in the form of Keep a Changelog, or does not go with ``version``."""
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)[1:] or [""]
    if first.splitlines()[:1] != ["[Unreleased]"]:
        return ["CHANGELOG.md: the first section is to be ## [Unreleased]"]
    problems, releases = [], []
    for section in others:
        heading = section.splitlines()[0]
        try:
            *number, day = RELEASE.fullmatch(heading).groups()
            releases.append((tuple(map(int, number)), date.fromisoformat(day)))
        except (AttributeError, ValueError):
            problems.append(f"CHANGELOG.md: ## {heading} is to be ## [1.2.3] - 2026-12-31")
    if any(newer[0] <= older[0] or newer[1] < older[1] for newer, older in pairwise(releases)):
        problems.append("CHANGELOG.md: the newest version is to come first")
    for section in (first, *others):
        heading = section.splitlines()[0]
        for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
            kind, _, changes = part.partition("\n")
            if kind not in KINDS:
                problems.append(f"CHANGELOG.md: ### {kind} under {heading} is to be one of {', '.join(sorted(KINDS))}")
            if not changes.strip().startswith("- "):
                problems.append(f"CHANGELOG.md: ### {kind} under {heading} lists nothing")
    return problems + _disagreements(first, releases, version, releasing)


def _disagreements(unreleased, releases, version, releasing):
    this = tuple(map(int, version.split(".")))
    newest = releases[0][0] if releases else (0, 0, 0)
    if releasing and (newest != this or "### " in unreleased):
        return [f"CHANGELOG.md: to release {version}, its changes are to stand under ## [{version}] and its date"]
    if newest > this:
        return [f"CHANGELOG.md is ahead of pyproject.toml, which says {version}"]
    if newest < this and "### " not in unreleased:
        return [f"CHANGELOG.md says nothing of {version}: put its changes under ## [Unreleased]"]
    return []


def link_problems(description):
    """Links and pictures that lead nowhere from an index, which shows the README by itself."""
    targets = re.findall(r"\]\(((?!https?:)[^)]*)\)", description)
    return [f"README.md, as an index shows it, links to {target}, which is not there" for target in targets]


def wheel_problems(names, tracked):
    """In what the wheel's files are not the package and what installers want to know of it."""
    package = {name for name in tracked if name.startswith("tieredcache/")}
    found = {name for name in names if ".dist-info/" not in name}
    return _differences("the wheel", found, package | {"tieredcache/py.typed"})


def sdist_problems(names, tracked):
    """In what the source distribution's files are not those of the repository."""
    found = {name.partition("/")[2] for name in names}
    return _differences("the source distribution", found, tracked | {"PKG-INFO"})


def _differences(where, found, wanted):
    missing = [f"{where} lacks {name}" for name in sorted(wanted - found)]
    return missing + [f"{where} has {name}, which does not belong there" for name in sorted(found - wanted)]


def problems_of(dist, *, releasing):
    """All of them, of the wheel and the source distribution in the folder ``dist``."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (wheel,) = dist.glob(f"*-{version}-py3-none-any.whl")
    (sdist,) = dist.glob(f"*-{version}.tar.gz")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.splitlines())
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
        (metadata,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
        description = message_from_bytes(archive.read(metadata)).get_payload()
    with tarfile.open(sdist) as archive:
        in_sdist = [member.name for member in archive if member.isfile()]
    return [
        *changelog_problems((ROOT / "CHANGELOG.md").read_text(), version, releasing=releasing),
        *link_problems(description),
        *wheel_problems(in_wheel, tracked),
        *sdist_problems(in_sdist, tracked),
    ]


def main():
    parser = argparse.ArgumentParser(description="Look at the files to publish.")
    parser.add_argument("dist", type=Path)
    parser.add_argument("--release", action="store_true", help="they are those of a release")
    arguments = parser.parse_args()
    problems = problems_of(arguments.dist, releasing=arguments.release)
    print("\n".join(problems) or "the files, the changelog and the description are as they should be")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
