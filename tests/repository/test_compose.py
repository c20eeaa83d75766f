"""docker-compose.yml without an engine: it is what the specification allows, and what it starts can be started."""

import contextlib
import http.client
import os
import re
import shlex
import subprocess
import sys
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
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_it_is_valid():
    """By the compose specification, with every service in it; a misspelt key is none."""
    # The library wants anchors resolved, as an engine does first.
    assert set(PyCompose.from_yaml(yaml.safe_dump(COMPOSE)).service_names()) == set(SERVICES)
    with pytest.raises(ValueError, match="intervall"):
        PyCompose.from_yaml(yaml.safe_dump(COMPOSE).replace("interval:", "intervall:"))


def test_who_is_there():
    """Valkey, two gunicorn servers of two workers behind a proxy, one uvicorn server, traffic."""
    commands = {name: " ".join(service.get("command", [])) for name, service in SERVICES.items()}
    assert sum("gunicorn" in command and "--workers 2" in command for command in commands.values()) == 2
    assert sum("uvicorn" in command for command in commands.values()) == 1
    assert {"valkey", "proxy", "traffic"} <= set(SERVICES)


def test_images_are_pinned_and_all_that_lives_is_watched():
    """To a version; what stays up has a health check, and who depends on it waits for that."""
    base = re.search(r"^FROM (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    for image in [base, *(service["image"] for service in SERVICES.values())]:
        assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+[\w.-]*", image), image
    for name, service in SERVICES.items():
        if name not in {"load", "traffic"}:
            assert service["healthcheck"]["test"]
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == ("service_completed_successfully" if other == "load" else "service_healthy")


def test_paths_exist():
    """Those that are mounted, those that are copied, and that .dockerignore lets them through."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
        assert path in allowed, path
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), source
    groups = re.findall(r"--group (\w+)", (ROOT / "Dockerfile").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert groups
    assert all(f"\n{group} = [" in project for group in groups)
    assert f"tieredcache-shop:{re.search(r'^version = .(.+).$', project, re.MULTILINE)[1]}" in TEXT


def test_the_proxy_knows_the_servers():
    """By the names that compose gives them, at the ports they listen on."""
    config = (ROOT / "docker/nginx.conf").read_text()
    for name, port in re.findall(r"(?:server |http://)(\w+):(\d+)", config):
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
    environment = os.environ | OURS["load"]["environment"]
    environment |= {
        "DEMO_DATABASE": str(tmp_path / "shop.sqlite3"),
        "REDIS_URL": environment["REDIS_URL"].replace("valkey:6379", f"{servers.HOST}:{ports['valkey']}"),
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
    }
    run = {"cwd": ROOT, "env": environment, "timeout": 60, "capture_output": True, "text": True}
    load = natively(OURS["load"]["command"])
    assert subprocess.run(load, **run, check=True).stdout == "10,521 rows loaded\n"
    assert subprocess.run(load, **run, check=True).stdout == "0 rows loaded\n"
    with contextlib.ExitStack() as stack:
        valkey = [servers.valkey_binary(), *SERVICES["valkey"]["command"][1:], "--port", str(ports["valkey"])]
        stack.enter_context(servers.running([*valkey, "--dir", str(tmp_path)], ports["valkey"]))
        for name in ("web1", "web2", "asgi"):
            command = natively(OURS[name]["command"], port8000=ports[name])
            stack.enter_context(servers.running(command, ports[name], seconds=60, environment=environment))
            healthy = natively(OURS[name]["healthcheck"]["test"][1:], port8000=ports[name])
            assert "pages/s" in subprocess.run(healthy, **run, check=True).stdout
        config = (ROOT / "docker/nginx.conf").read_text().replace("listen 8080", f"listen {servers.HOST}:{ports['proxy']}")
        for name in ("web1", "web2", "asgi"):
            config = config.replace(f"{name}:8000", f"{servers.HOST}:{ports[name]}")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
        (tmp_path / "nginx.conf").write_text(config.replace("http {", f"http {{ access_log off; {folders}"))
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
        assert ask(ports["proxy"], "/async/3/")[1]["X-Worker"] not in workers
        assert "color-scheme" in ask(ports["proxy"], "/static/shop/shop.css")[0]
        traffic = natively([*OURS["traffic"]["command"], "--once"], port8080=ports["proxy"])
        assert "pages/s" in subprocess.run(traffic, **run, check=True).stdout
    assert subprocess.run(healthy, **run, check=False).returncode != 0


def ask(port, path):
    """The page and its headers."""
    with contextlib.closing(http.client.HTTPConnection(servers.HOST, port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode(), answer.headers
