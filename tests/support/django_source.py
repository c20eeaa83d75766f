"""Django's own tests, of the installed version, from its source distribution: fetched once, kept in the environment."""

import contextlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

_HOME = Path(sys.prefix) / "django-tests" / django.__version__


def fetch() -> Path:
    """The folder that holds Django's test apps; raises ``CalledProcessError`` where the registry cannot be reached."""
    if not _HOME.exists():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django"]
            subprocess.run([*command, "--dest", name, f"django=={django.__version__}"], check=True)
            with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
            _HOME.parent.mkdir(exist_ok=True)
            # Renamed in one step: a run that is cut off leaves nothing half done.
            partial = Path(tempfile.mkdtemp(dir=_HOME.parent))
            shutil.copytree(next(folder.glob("*/tests/cache")), partial / "cache")
            partial.rename(_HOME)
    return _HOME


def add_to_path() -> bool:
    """Make the test app ``cache`` importable; whether it could be had."""
    with contextlib.suppress(subprocess.CalledProcessError):
        sys.path.append(str(fetch()))
        return True
    return False
