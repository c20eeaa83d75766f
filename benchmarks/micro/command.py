"""What the commands share: help from the module's docstring, promises that are judged."""

from __future__ import annotations

import argparse
import sys


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is ``doc``: what is measured, and how long it takes."""
    main = sys.modules["__main__"].__spec__
    name = f"python -m {main.name.removesuffix('.__main__')}" if main else None
    return argparse.ArgumentParser(name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def judged(promises: list[tuple[str, bool]]) -> int:
    """Print each promise, and whether it holds; how many do not."""
    for promise, holds in promises:
        print(f"  {'holds ' if holds else 'MISSED'} {promise}", flush=True)
    return sum(not holds for _, holds in promises)
