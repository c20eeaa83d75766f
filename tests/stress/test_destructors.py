"""Promise 9: safe with any object as a value, whatever its destructor does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Half a minute in CI, where it is promised; enough to catch a careless change elsewhere.
SECONDS = 30 if os.environ.get("CI") else 5


@pytest.mark.parametrize("kind", ["lru", "tiered"])
def test_destructors_neither_crash_nor_block(kind):
    """Writers and readers on few keys, with values whose destructors yield, sleep and call the same cache."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.stress.destructors", kind, str(SECONDS)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=SECONDS + 90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "alive" in done.stdout
