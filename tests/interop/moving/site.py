"""The site that moves: a project of its own in a directory, served by two workers, with clocks that can be moved."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import redis

ROOT = Path(__file__).parents[3]
PROJECT = Path(__file__).parent / "project"


class Site:
    """The project in ``directory``, with these files changed; its workers are ``"a"`` and ``"b"``.

    ``url``: the server and database that the settings name, if any. ``packages``: directories to import from first.
    """

    def __init__(self, directory, files, url, packages=()):
        self._directory = directory
        self._packages = [str(package) for package in packages]
        self._server = redis.Redis.from_url(url)
        shutil.copytree(PROJECT, directory, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)

    def __enter__(self):
        path = os.pathsep.join([*self._packages, str(self._directory), str(ROOT), *sys.path[1:]])
        self._log = (self._directory / "log").open("w+")
        self._workers = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.moving.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=self._directory,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        try:
            self.restart()
            self.manage("migrate", "--run-syncdb", "--verbosity", "0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        with self._server, self._log:
            self._workers.communicate(timeout=300)

    def _order(self, **order):
        self._workers.stdin.write(json.dumps(order) + "\n")
        self._workers.stdin.flush()
        answer = self._workers.stdout.readline()
        if not answer.strip():
            self._log.seek(0)
            raise RuntimeError(f"the site has ended:\n{self._log.read()}")
        return json.loads(answer)

    def restart(self):
        """Both workers, as a deploy does."""
        self._order()

    def request(self, worker, method, path, visitor=None, **form):
        """What ``worker`` answers; ``visitor``: the cookies of one, which the answer may change."""
        cookies = {} if visitor is None else visitor
        body = urlencode(form)
        answer = self._order(worker=worker, method=method, path=path, body=body, cookies=cookies)
        cookies.update(answer["cookies"])
        return answer["answer"]

    def get(self, worker, path, visitor=None):
        return self.request(worker, "GET", path, visitor)

    def post(self, worker, path, visitor=None, **form):
        return self.request(worker, "POST", path, visitor, **form)

    def ask(self, worker, method, *args, **kwargs):
        """What the cache's ``method`` returns there, or the error it raises."""
        return self.post(worker, f"/ask/{method}/", args=repr((args, kwargs)))

    def manage(self, *command):
        """What ``manage.py`` prints."""
        return self._order(worker="a", manage=command)["answer"]

    def move(self, seconds):
        """Let so much time pass: on the workers' clocks, and in the lives of the server's entries."""
        for worker in "ab":
            self._order(worker=worker, move=seconds)
        for key in self._server.scan_iter():
            left = self._server.pttl(key)
            if left >= 0:
                with contextlib.suppress(redis.ResponseError):
                    self._server.pexpire(key, max(0, left - int(seconds * 1000)))

    def write_raw(self, key, value):
        """Bytes under a key of the server, as something else that uses it may leave them."""
        self._server.set(key, value)

    def raw_keys(self):
        """All keys of the server's database."""
        return sorted(key.decode() for key in self._server.scan_iter())

    def flush(self):
        self._server.flushdb()
