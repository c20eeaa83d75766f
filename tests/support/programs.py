"""Servers and tools that are taken from the PATH."""

import os
import shutil

import pytest


def need(program):
    """The path of a server that developers may lack, and CI may not."""
    path = shutil.which(program)
    if path is None:
        message = f"{program} is not on the PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
