"""The benchmarks are where they are said to be, and say what they measure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.expiry import simulate

pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    .removesuffix(".__main__")
    .removesuffix(".__init__"): path.read_text()
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
}
COMMANDS = [name for name, text in MODULES.items() if 'if __name__ == "__main__":' in text]
FILES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", ROOT / "noxfile.py"]
FOLDERS = {"benchmarks": "py", "docs": "md", "example_project": "py", "tests": "py", "tieredcache": "py"}


def test_each_stands_in_its_folder_and_is_short():
    """By what it measures; and one can keep a module in mind."""
    assert {path.name for path in (ROOT / "benchmarks").glob("*.py")} == {"__init__.py", "__main__.py"}
    assert {path.parent.name for path in (ROOT / "benchmarks").glob("*/__init__.py")} == {"micro", "load", "figures"}
    assert {name: lines for name, text in MODULES.items() if (lines := text.count("\n")) > 300} == {}


def test_each_that_is_named_exists():
    """In commands, pages, docstrings and settings."""
    texts = [path.read_text() for path in FILES]
    texts += [path.read_text() for folder, kind in FOLDERS.items() for path in (ROOT / folder).rglob(f"*.{kind}")]
    named = {name for text in texts for name in re.findall(r"\bbenchmarks(?:\.[a-z_]+)+", text)}
    settings = {"benchmarks.load.pages_site.application", "benchmarks.load.chaos.site.application"}
    assert named - MODULES.keys() - settings == set()
    assert len(named) > len(COMMANDS)


@pytest.mark.slow
def test_each_command_says_how_long_it_takes():
    """With --help, under the name by which it is called."""
    running = {
        name: subprocess.Popen([sys.executable, "-m", name, "--help"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name in COMMANDS
    }
    said = {name: process.communicate(timeout=300)[0] for name, process in running.items()}
    assert len(said) > 10
    assert [name for name, text in said.items() if not text.startswith(f"usage: python -m {name} ")] == []
    assert [name for name, text in said.items() if not re.search("second|minute|until", text)] == []


@pytest.mark.parametrize(("beta", "most", "given_away"), [(1, 3.0, 0.12), (2, 2.0, 0.22)])
def test_few_processes_compute_an_early_value_in_the_simulation(beta, most, given_away):
    """Sixteen processes: so many computations an expiry, for so much of the TTL, and the key is never missing."""
    found = simulate(16, 5, 0.5, 20, beta)
    assert 1 < found["computations"] <= most
    assert 0 < found["given"] <= given_away
    assert found["missing"] < 0.05
