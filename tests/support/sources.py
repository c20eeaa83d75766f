"""Source distributions, which have the tests that a wheel lacks: fetched once, kept in the environment."""

import contextlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

_HOME = Path(sys.prefix) / "sources"


def fetch(name: str, version: str) -> Path:
    """The folder of the source distribution; raises ``CalledProcessError`` where the registry cannot be reached."""
    home = _HOME / f"{name}-{version}"
    if not home.exists():
        _HOME.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_HOME) as temporary:
            folder = Path(temporary)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
            subprocess.run([*command, "--dest", temporary, f"{name}=={version}"], check=True)
            with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
            # Renamed in one step: a run that is cut off leaves nothing half done.
            next(path for path in folder.iterdir() if path.is_dir()).rename(home)
    return home


def add_django_tests_to_path() -> bool:
    """Make Django's test apps importable, of the installed version; whether they could be had."""
    with contextlib.suppress(subprocess.CalledProcessError):
        sys.path.append(str(fetch("django", django.__version__) / "tests"))
        return True
    return False
