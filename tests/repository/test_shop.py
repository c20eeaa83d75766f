"""The shop under gunicorn with four workers, and its pages in a real browser."""

import contextlib
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.programs import need

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BOUND = 5  # LOCAL_TIMEOUT of the shop
SHOTS = os.environ.get("SCREENSHOTS")  # a folder to keep the pictures in


@contextlib.contextmanager
def shop():
    """``make serve``, on a port of its own."""
    port = servers.free_port()
    command = [sys.executable, "-m", "example_project.demo", "--serve", str(port)]
    environment = {**os.environ}
    environment.pop("REDIS_URL", None)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        assert process.poll() is None, "".join(lines)
        yield f"http://{servers.HOST}:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
        assert process.returncode == 130


@pytest.fixture(scope="module")
def url():
    with shop() as address:
        yield address


class Visitor:
    """Keeps cookies, and posts with the token."""

    def __init__(self, url):
        self.url = url
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def get(self, path):
        with self.opener.open(self.url + path, timeout=30) as answer:
            self.headers = answer.headers
            return answer.read().decode()

    def post(self, path):
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), None)
        if token is None:
            self.get("/")
            return self.post(path)
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token}).encode()
        with self.opener.open(self.url + path, data, timeout=30) as answer:
            return answer.read().decode()


def rows(page):
    return re.findall(r'<th scope="row">(.*?)</th>.*?<td class="number">(.*?)</td>', page)


def test_the_price_list(url):
    """200 rows, each with what it costs; the same rows for every caller."""
    visitor = Visitor(url)
    first = visitor.get("/7/")
    assert len(rows(first)) == 200
    assert "We send to" in first
    assert "United Kingdom" in first
    assert "Express is on" in first
    for _ in range(8):
        assert rows(visitor.get("/7/")) == rows(first)
    assert urllib.request.urlopen(url + "/static/shop/shop.css", timeout=30).status == 200


def test_a_basket_survives_50_requests_over_alternating_workers(url):
    """Sessions are the remote tier's alone: no worker serves an old one, or saves it back."""
    visitor = Visitor(url)
    page = visitor.get("/3/")
    codes = list(dict.fromkeys(re.findall(r'formaction="/basket/add/([^/]+)/"', page)))[:5]
    workers = set()
    inside = []
    for turn in range(50):
        if turn % 10 == 0:
            inside.append(codes[turn // 10])
            visitor.post(f"/basket/add/{inside[-1]}/")
        found = re.findall(r'action="/basket/remove/([^/]+)/"', visitor.get("/basket/"))
        assert found == inside
        assert f'<span class="count">{len(inside)}</span>' in visitor.get("/3/")
        workers.add(visitor.headers["X-Worker"])
    assert len(workers) > 1
    visitor.post(f"/basket/remove/{inside[0]}/")
    assert inside[0] not in visitor.get("/basket/")


def test_added_and_seen_50_of_50(url):
    """Post, be redirected, see it, whichever worker answers; and the price that one has changed oneself."""
    visitor = Visitor(url)
    for turn in range(1, 51):
        assert visitor.post("/basket/add/GB-LND/").count("/basket/remove/GB-LND/") == turn
    for _ in range(50):
        changed = json.loads(visitor.post("/tiers/change"))
        assert json.loads(visitor.get("/tiers/mine"))["price"] == changed["price"]


def test_a_change_turns_up_in_all_workers_within_the_bound(url):
    """Each of them, though nobody told them."""
    visitor = Visitor(url)
    stranger = Visitor(url)
    serving = {}
    end = time.monotonic() + 20
    while len(serving) < 4 and time.monotonic() < end:
        serving |= {each["worker"]: each["price"] for each in json.loads(stranger.get("/tiers/data"))["workers"]}
    assert len(serving) == 4
    changed = json.loads(visitor.post("/tiers/change"))
    done = time.monotonic()
    while any(price != changed["price"] for price in serving.values()):
        sent = time.monotonic()
        answer = json.loads(stranger.get("/tiers/mine"))
        serving[answer["worker"]] = answer["price"]
        if answer["price"] != changed["price"]:
            assert sent < done + BOUND
        assert sent < done + 4 * BOUND


def test_the_admin_changes_a_row(url):
    """What is saved there is seen at once by the visitor who saved it, and the flag by all within its own second."""
    visitor = Visitor(url)
    visitor.get("/admin/login/")
    token = next(cookie.value for cookie in visitor.jar if cookie.name == "csrftoken")
    fields = {"csrfmiddlewaretoken": token, "username": "demo", "password": "demo", "next": "/admin/"}
    data = urllib.parse.urlencode(fields).encode()
    visitor.opener.open(url + "/admin/login/", data, timeout=30).read()
    token = next(cookie.value for cookie in visitor.jar if cookie.name == "csrftoken")
    fields = {"csrfmiddlewaretoken": token, "subdivision": "GB-LND", "amount": "12.34", "currency": "GBP"}
    visitor.opener.open(url + "/admin/shop/price/GB-LND/change/", urllib.parse.urlencode(fields).encode(), timeout=30).read()
    assert json.loads(visitor.get("/tiers/mine"))["price"] == "12.34"


# --- in a browser ---


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = need("chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@contextlib.contextmanager
def opened(browser, address, **options):
    """A page without an error of its own."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.goto(address)
    yield page
    context.close()
    assert not problems


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["/", "/tiers/"])
def test_it_looks_as_it_should(url, browser, path, look, tmp_path):
    """In light, in dark and on a phone: nothing wider than the screen, and the ground as dark as it is asked for."""
    with opened(browser, url + path, **LOOKS[look]) as page:
        if path == "/tiers/":
            page.wait_for_function("document.querySelectorAll('#workers tbody tr').length === 4", timeout=60_000)
            stranger = Visitor(url)
            for _ in range(60):
                stranger.get("/1/")  # what the charts show
            page.click("#change")
            page.wait_for_function("document.getElementById('agreed').textContent.startsWith('all')", timeout=30_000)
            page.wait_for_selector("#reads svg")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= LOOKS[look].get("viewport", {"width": 1100})["width"]
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
        assert (brightness < 64) == (look == "dark")
        folder = Path(SHOTS) if SHOTS else tmp_path
        name = "shop" if path == "/" else "tiers"
        picture = folder / f"{name}-{look}.png"
        page.screenshot(path=picture, full_page=path == "/tiers/")
        assert picture.stat().st_size > 10_000


def test_workers_of_two_servers_are_told_apart(url, browser):
    """Where they have the same process id, as in containers they do."""
    found = json.loads(Visitor(url).get("/tiers/data"))
    found["workers"] = [{**found["workers"][0], "worker": name} for name in ("web1:7", "web2:7")]
    with opened(browser, url + "/") as page:
        page.route("**/tiers/data", lambda route: route.fulfill(json=found))
        page.goto(url + "/tiers/")
        page.wait_for_selector("#reads .ytick text", state="attached")
        labels = page.eval_on_selector_all("#reads .ytick text", "found => found.map(each => each.textContent)")
    assert sorted(labels) == ["web1:7", "web2:7"]


def test_with_the_keyboard_alone(url, browser):
    """Every button can be reached, and shows that it has been; the first stop skips to the content."""
    with opened(browser, url + "/tiers/") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
            if page.evaluate("document.activeElement.id") == "change":
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert {"change", "mine", "outage", "prefetch"} <= reached


def trips(page):
    """Round trips a page, as the page says."""
    return float(re.fullmatch(r"O\w+: ([\d.,]+) round trips a page\.", page.inner_text("#along"))[1].replace(",", ""))


def test_round_trips_fall_when_prefetching_is_turned_on(url, browser):
    """Before the visitor's eyes, in all four workers, which the page itself gives something to do."""
    with opened(browser, url + "/tiers/") as page:
        page.wait_for_function("document.querySelectorAll('#workers tbody tr').length === 4", timeout=60_000)
        seen = {}
        for state in ("Off", "On"):
            page.click("#prefetch")
            page.wait_for_function(f"document.getElementById('along').textContent.startsWith('{state}:')", timeout=30_000)
            page.wait_for_function("document.getElementById('visits').textContent.startsWith('120 ')", timeout=120_000)
            seen[state] = trips(page)
    assert seen["On"] < seen["Off"] / 2, seen


def test_read_your_writes_on_the_page(url, browser):
    """The visitor sees the change every time."""
    with opened(browser, url + "/tiers/") as page:
        page.click("#mine")
        page.wait_for_function("document.getElementById('own').textContent.includes('visitor')", timeout=30_000)
        assert page.inner_text("#own").endswith("the visitor 20 times of 20")


def test_the_outage_button_leaves_the_shop_answering(url, browser):
    """For ten seconds the server answers nothing; every page is there all the same, and the server afterwards."""
    stranger = Visitor(url)
    for _ in range(40):
        stranger.get("/1/")
    with opened(browser, url + "/tiers/") as page:
        page.wait_for_function("document.querySelectorAll('#workers tbody tr').length === 4", timeout=60_000)
        page.click("#outage")
        for _ in range(100):  # the workers notice by what they read
            stranger.get("/1/")
            page.wait_for_timeout(50)
            if "is out" in page.inner_text("#out"):
                break
        else:
            pytest.fail("the page shows no outage")
        end = time.monotonic() + 8
        begin = time.monotonic()
        assert len(rows(stranger.get("/417/"))) == 200  # which no worker has read
        assert time.monotonic() - begin < 5
        while time.monotonic() < end:
            assert len(rows(stranger.get("/1/"))) == 200
        page.wait_for_function("document.getElementById('out').textContent.includes('answers')", timeout=60_000)
    with pytest.raises(urllib.error.HTTPError, match="405") as refused:
        stranger.get("/tiers/outage")
    refused.value.close()
