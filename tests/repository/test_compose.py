"""docker-compose.yml without an engine: it is what the specification allows, and what it starts can be started.

With one: ``make compose``, in compose.py beside this file.
"""

import contextlib
import http.client
import http.server
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from tests.support import servers
from tests.support.programs import need

pytestmark = [pytest.mark.slow, pytest.mark.source]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("tieredcache-shop:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HEALTHY = json.loads(re.search(r"HEALTHCHECK [^[]*(\[.*\])", DOCKERFILE)[1])


def test_it_is_valid():
    """By the compose specification, with every service in it; a misspelt key is none."""
    # The library wants anchors and variables resolved, as an engine does first, and is older than Compose 2.39.
    resolved = yaml.safe_dump(COMPOSE).replace("${PORT:-8000}", "8000").replace("provenance: disabled=true", "")
    assert set(PyCompose.from_yaml(resolved).service_names()) == set(SERVICES)
    with pytest.raises(ValueError, match="intervall"):
        PyCompose.from_yaml(resolved.replace(" interval:", " intervall:"))


def test_who_is_there():
    """Valkey, two gunicorn servers of two workers behind a proxy, one uvicorn server, traffic."""
    commands = {name: " ".join(service.get("command", [])) for name, service in SERVICES.items()}
    assert sum("gunicorn" in command and "--workers 2" in command for command in commands.values()) == 2
    assert sum("uvicorn" in command for command in commands.values()) == 1
    assert {"valkey", "proxy", "traffic"} <= set(SERVICES)


def test_images_are_pinned_and_all_that_lives_is_watched():
    """To a version; what stays up has a health check, and a service that depends on it waits for that."""
    base = re.search(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)[1]
    for image in [base, *(service["image"] for service in SERVICES.values())]:
        assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+[\w.-]*", image), image
    for name, service in SERVICES.items():
        if name in {"load", "traffic"}:  # that of the image asks a server
            assert service["healthcheck"] == {"disable": True}
        else:
            assert name in OURS or service["healthcheck"]["test"]
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == ("service_completed_successfully" if other == "load" else "service_healthy")


def test_paths_exist():
    """Those that are mounted, those that are copied, and that .dockerignore lets them through."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
        assert path in allowed, path
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0] if isinstance(volume, str) else volume["type"]
            assert source in {*COMPOSE["volumes"], "tmpfs"} or (ROOT / source).exists(), source
    groups = re.findall(r"--group (\w+)", DOCKERFILE)
    project = (ROOT / "pyproject.toml").read_text()
    assert groups
    assert all(f"\n{group} = [" in project for group in groups)
    assert f"tieredcache-shop:{re.search(r'^version = .(.+).$', project, re.MULTILINE)[1]}" in TEXT


def test_one_service_builds_the_image_and_no_registry_is_asked_for_it():
    """It builds at each start, or an edit would go unnoticed; several at once would be in each other's way."""
    policies = {name: ("build" in service, service["pull_policy"]) for name, service in OURS.items()}
    assert policies.pop("load") == (True, "build")
    assert set(policies.values()) == {(False, "never")}


def test_an_edit_of_the_code_installs_nothing_again():
    """In the image, the packages come before the code; and its user has a number, so that it can be seen not to be root."""
    installs, copies = DOCKERFILE.index("--group demo"), DOCKERFILE.index("COPY tieredcache")
    assert installs < copies < DOCKERFILE.index("COPY example_project")
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE)


def test_the_port_can_be_chosen():
    """By a variable, on loopback in any case."""
    assert SERVICES["proxy"]["ports"] == ["127.0.0.1:${PORT:-8000}:8080"]


def test_the_proxy_knows_the_servers():
    """By the names that compose gives them, at the ports they listen on; it asks for their addresses again and again."""
    config = (ROOT / "docker/nginx.conf").read_text()
    servers_named = re.findall(r"server (\w+):(\d+) resolve;", config)
    assert len(servers_named) == config.count(":8000")
    for name, port in servers_named:
        assert f":{port}" in " ".join(SERVICES[name]["command"]) or port in SERVICES[name]["command"]
    listens = re.search(r"listen (\d+)", config)[1]
    assert SERVICES["proxy"]["ports"][0].endswith(f":{listens}")


def natively(command, host=servers.HOST, **ports):
    """The command as it is, with this interpreter, on loopback and free ports (``port8000=...``)."""
    text = shlex.join(sys.executable if part == "python" else part for part in command)
    for old, new in ports.items():
        text = text.replace(old.removeprefix("port"), str(new))
    return shlex.split(text.replace("0.0.0.0", host).replace("proxy", host))


def test_its_commands_run(tmp_path):
    """Each of them: the tables are loaded, every server answers, behind the proxy too, and each health check says so."""
    nginx = need("nginx")
    ports = {name: servers.free_port() for name in SERVICES}

    def environment_of(name):
        given = os.environ | OURS[name]["environment"]
        url = given["REDIS_URL"].replace("valkey:6379", f"{servers.HOST}:{ports['valkey']}")
        own = {"DEMO_DATABASE": str(tmp_path / "shop.sqlite3"), "REDIS_URL": url}
        return given | own | {"DJANGO_SETTINGS_MODULE": "example_project.settings"}

    environment = environment_of("load")
    run = {"cwd": ROOT, "env": environment, "timeout": 60, "capture_output": True, "text": True}
    load = natively(OURS["load"]["command"])
    assert subprocess.run(load, **run, check=True).stdout == "10,521 rows loaded\n"
    assert subprocess.run(load, **run, check=True).stdout == "0 rows loaded\n"
    with contextlib.ExitStack() as stack:
        valkey = [servers.valkey_binary(), *SERVICES["valkey"]["command"][1:], "--port", str(ports["valkey"])]
        stack.enter_context(servers.running([*valkey, "--dir", str(tmp_path)], ports["valkey"]))
        for name in ("web1", "web2", "asgi"):
            command = natively(OURS[name]["command"], port8000=ports[name])
            stack.enter_context(servers.running(command, ports[name], seconds=60, environment=environment_of(name)))
            healthy = natively(HEALTHY, port8000=ports[name])
            subprocess.run(healthy, **run, check=True)
        config = (ROOT / "docker/nginx.conf").read_text().replace("listen 8080", f"listen {servers.HOST}:{ports['proxy']}")
        for name in ("web1", "web2", "asgi"):
            # An address needs no resolving, and the nginx of distributions may be older than that.
            config = config.replace(f"{name}:8000 resolve", f"{servers.HOST}:{ports[name]}")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
        (tmp_path / "nginx.conf").write_text(config.replace("http {", f"http {{ {folders}"))
        rules = f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/errors;"
        command = [
            nginx,
            "-p",
            str(tmp_path),
            "-c",
            str(tmp_path / "nginx.conf"),
            "-g",
            rules,
            "-e",
            str(tmp_path / "errors"),
        ]
        stack.enter_context(servers.running(command, ports["proxy"]))
        assert ask(ports["proxy"], "/healthy")[0] == "yes\n"
        workers = {ask(ports["proxy"], "/3/")[1]["X-Worker"] for _ in range(20)}
        assert len(workers) > 1
        page, headers = ask(ports["proxy"], "/async/3/")
        assert headers["X-Worker"] not in workers
        stays_under("/async/", page)
        stays_under("/async/", ask(ports["proxy"], "/async/tiers/")[0])
        assert "color-scheme" in ask(ports["proxy"], "/async/static/shop/shop.css")[0]
        for page in ("/tiers/data", "/async/tiers/data"):
            assert headers["X-Worker"] in reporting(ports["proxy"], page, workers | {headers["X-Worker"]})
        assert "color-scheme" in ask(ports["proxy"], "/static/shop/shop.css")[0]
    assert subprocess.run(healthy, **run, check=False).returncode != 0


def stays_under(prefix, page):
    """Every link, form and script of the page."""
    found = re.findall(r'(?:href|action|src)="(/[^"]*)', page)
    assert found
    assert [path for path in found if not path.startswith(prefix)] == []


def reporting(port, path, wanted):
    """The process ids of the workers that the tiers page shows: each is asked for in turn."""
    end = time.monotonic() + 30
    while True:
        workers = {each["worker"].rpartition(":")[2] for each in json.loads(ask(port, path)[0])["workers"]}
        if workers >= wanted or time.monotonic() > end:
            return workers


def test_traffic_is_paced_goes_on_after_an_error_and_ends_when_it_is_told_to():
    """Each of its visitors stays under a path, asks a few times a second, and does not mind a 502."""
    asked = {"/": [], "/async/": []}
    answers = itertools.chain([502], itertools.repeat(200))
    enough = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked["/async/" if self.path.startswith("/async/") else "/"].append(time.monotonic())
            self.send_response(next(answers))
            self.send_header("Content-Length", "0")
            self.end_headers()
            if min(map(len, asked.values())) > 5:
                enough.set()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer((servers.HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        command = natively(OURS["traffic"]["command"], port8080=server.server_port)
        traffic = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert enough.wait(30)
            traffic.terminate()
            output, _ = traffic.communicate(timeout=30)
        finally:
            traffic.kill()
            server.shutdown()
    assert traffic.returncode == 0
    assert output.splitlines() == ["a page answered 502; going on"]
    for times in asked.values():
        assert min(after - before for before, after in itertools.pairwise(times)) > 0.25


def ask(port, path):
    """The page and its headers."""
    with contextlib.closing(http.client.HTTPConnection(servers.HOST, port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode(), answer.headers
