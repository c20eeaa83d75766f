"""``make compose``: docker-compose.yml run by this machine's Docker, under names of its own; skipped where there is none.

What only an engine shows: the first start, the health checks, names that are resolved, signals, and what is left behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.servers import HOST, free_port

ROOT = Path(__file__).parents[2]
NEEDED = (
    "docker",
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "tieredcache",
    "example_project",
)
NAME = "tieredcache-shop-check"
HEALTHY = {"valkey", "web1", "web2", "asgi", "proxy"}
PATIENCE = 30  # seconds for what takes a moment


def docker(*arguments, check=True):
    """What it prints."""
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=check, timeout=600)
    return done.stdout


class Shop:
    """The project's files in a folder of their own, where one can be edited, and the shop that is started from them."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        for name in NEEDED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        self.file = folder / "docker-compose.yml"
        self.file.write_text((ROOT / self.file.name).read_text().replace("image: tieredcache-shop:", f"image: {NAME}:"))
        self.image = re.search(rf"image: ({NAME}:\S+)", self.file.read_text())[1]
        self.volumes = set(docker("volume", "ls", "--quiet").split())

    def compose(self, *arguments, check=True):
        os.environ["PORT"] = str(self.port)
        own = ("--progress", "quiet", "--project-name", NAME, "--file", str(self.file))
        return docker("compose", *own, *arguments, check=check)

    def ids(self):
        return sorted(self.compose("ps", "--all", "--quiet").split())

    def layers(self):
        return json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", self.image))

    def get(self, path):
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def servers(self):
        """That tell of a worker."""
        return {each["worker"].partition(":")[0] for each in json.loads(self.get("/tiers/data"))["workers"]}

    def unhealthy(self):
        found = (line.split() for line in self.compose("ps", "--format", "{{.Service}} {{.Health}}").splitlines())
        return HEALTHY - {line[0] for line in found if line[1:] == ["healthy"]}


def eventually(condition):
    """Whether it holds in the end."""
    end = time.monotonic() + PATIENCE
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.2)  # what is waited for happens in other processes, which tell nobody
    return holds


def it_starts_at_the_first_try(shop):
    shop.compose("up", "--detach")
    assert not shop.unhealthy(), shop.unhealthy()


def starting_it_again_changes_nothing(shop):
    before = shop.ids()
    shop.compose("up", "--detach")
    assert shop.ids() == before


def the_tiers_page_shows_three_servers(shop):
    assert eventually(lambda: shop.servers() == {"web1", "web2", "asgi"}), shop.servers()


def links_of_the_asynchronous_server_stay_with_it(shop):
    page = shop.get("/async/3/")
    assert re.search(r'href="/async/', page)
    assert not re.findall(r'(?:href|src|action)="/(?!async/)[^"]*', page)
    assert shop.get("/async/static/shop/shop.css")


def the_log_is_short_and_of_one_time_zone(shop):
    assert set(re.findall(r"\d\d:\d\d:\d\d ([+-]\d{4})", shop.compose("logs"))) == {"+0000"}
    assert len(shop.compose("logs", "--since", "5s").splitlines()) < 25


def nobody_waits_for_a_server_that_hangs(shop):
    """Not for what no worker has read before, either."""
    shop.compose("pause", "valkey")
    try:
        for number in (411, 422, 433):
            begin = time.monotonic()
            assert "</table>" in shop.get(f"/async/{number}/")
            assert time.monotonic() - begin < 5
    finally:
        shop.compose("unpause", "valkey")


def the_proxy_finds_servers_that_were_made_again(shop):
    shop.compose("up", "--detach", "--force-recreate", "web2", "web1")
    assert eventually(lambda: not shop.unhealthy()), shop.unhealthy()
    time.sleep(2)  # nginx asks for the addresses every second
    for number in range(20):
        shop.get(f"/{number}/")


def an_edit_is_noticed_and_installs_nothing_again(shop):
    before = shop.layers()
    with (shop.folder / "example_project" / "wsgi.py").open("a") as module:
        module.write("# edited\n")
    shop.compose("up", "--detach")
    assert "# edited" in shop.compose("exec", "--no-TTY", "web1", "cat", "example_project/wsgi.py")
    assert shop.layers()[:-2] == before[:-2]  # the last are the shop's own code, and that compiled


def it_ends_at_once_and_leaves_nothing(shop):
    begin = time.monotonic()
    shop.compose("down", "--volumes")
    assert time.monotonic() - begin < 8
    assert not shop.ids()
    assert set(docker("volume", "ls", "--quiet").split()) == shop.volumes


CHECKS = (
    it_starts_at_the_first_try,
    starting_it_again_changes_nothing,
    the_tiers_page_shows_three_servers,
    links_of_the_asynchronous_server_stay_with_it,
    the_log_is_short_and_of_one_time_zone,
    nobody_waits_for_a_server_that_hangs,
    the_proxy_finds_servers_that_were_made_again,
    an_edit_is_noticed_and_installs_nothing_again,
    it_ends_at_once_and_leaves_nothing,
)


def main():
    """Run the checks one after the other; the number of those that failed."""
    for needed in (["docker", "info"], ["docker", "compose", "version"]):
        if not shutil.which("docker") or subprocess.run(needed, capture_output=True, check=False).returncode:
            print(f"skipped: no answer from {' '.join(needed)}")
            return 0
    failed = 0
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        shop = Shop(Path(folder))
        try:
            for check in CHECKS:
                begin = time.monotonic()
                try:
                    check(shop)
                    problem = ""
                except (AssertionError, OSError, subprocess.SubprocessError, urllib.error.URLError) as error:
                    problem = f": {error!r}"
                    failed += 1
                name = check.__name__.replace("_", " ")
                print(f"{'FAILED' if problem else 'ok'}  {name} ({time.monotonic() - begin:.0f} s){problem}", flush=True)
        finally:
            shop.compose("down", "--volumes", check=False)
            docker("image", "rm", "--force", shop.image, check=False)
            docker("image", "prune", "--force", "--filter", f"label=com.docker.compose.project={NAME}", check=False)
    return failed


if __name__ == "__main__":
    sys.exit(main())
