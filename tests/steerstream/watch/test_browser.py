"""The live page in a real Chromium, over a real server with real vehicles.

`make deploy-tools` installs the browser and what drives it; without them these tests are skipped,
and fail in CI.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pytest

import steerstream
import steerstream.blocking
from steerstream.models import Camera
from tests.deploy.tools import tool
from tests.service.processes import process
from tests.steerstream.watch.scripted import WAIT_S
from tests.steerstream.watch.test_command import watching

CAMERA = Camera(640, 480, horizontal_fov_deg=60.0, mount_height_m=1.4, horizon_fraction=0.45)
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def road_jpeg() -> bytes:
    """Green below a blue sky, so that what is drawn over it is neither."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:216], picture[216:] = (200, 120, 60), (40, 110, 40)
    encoded: bytes = cv2.imencode(".jpg", picture)[1].tobytes()
    return encoded


class Vehicle:
    """A vehicle in a thread, which sends the road until it is told to send what is broken."""

    def __init__(self, address: str, name: str, **terms: Any) -> None:
        self._address = address
        self._terms = {"vehicle_id": name, "budget_ms": 5000, "camera": CAMERA, **terms}
        self._picture = road_jpeg()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._drive, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(WAIT_S)

    def breaks(self) -> None:
        self._picture = b"no picture"

    def _drive(self) -> None:
        while not self._ended.is_set():
            # Another session where the server is gone or has ended this one.
            with (
                contextlib.suppress(steerstream.SteerstreamError),
                steerstream.blocking.connect(self._address) as client,
                client.open_session(**self._terms) as session,
            ):
                while not self._ended.wait(0.05):
                    session.request(self._picture)
            self._ended.wait(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = tool("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no playwright: make deploy-tools")
    with sync_playwright() as playwright:
        # Containers give a browser no sandbox and little shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(bundle_path, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with process("--model", bundle_path, "--watch-pictures", folder=folder) as (_, address):
        yield address


@pytest.fixture(scope="module")
def url(server) -> Iterator[str]:
    with watching("--target", server) as (_, found):
        yield found


@pytest.fixture
def open_page(browser):
    """A function that opens the page; a script that fails, or is refused, fails the test."""
    with contextlib.ExitStack() as ending:
        faults = []

        def open_page(url, *, viewport=WIDE, **options):
            context = browser.new_context(viewport=viewport, **options)
            ending.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(1e3 * WAIT_S)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on(
                "console",
                lambda message: (
                    faults.append(message.text)
                    if message.type == "error" and "net::ERR" not in message.text
                    else None
                ),
            )
            page.goto(url)
            return page

        yield open_page
        assert not faults


def row(page, name):
    return page.locator("#rows tr").filter(has=page.get_by_role("button", name=name, exact=True))


def text(page, selector):
    return page.locator(selector).text_content()


def holds(page, expression):
    """Wait until a JavaScript expression holds.

    As a function: under the page's policy, which forbids eval, Playwright takes a bare expression
    only if it holds at the first look.
    """
    page.wait_for_function(f"() => Boolean({expression})")


def until(page, selector, expression):
    """Wait until a JavaScript expression holds of the element `it`."""
    find = f"document.querySelector({json.dumps(selector)})"
    holds(page, f"(it => it && ({expression}))({find})")


WRITTEN = """() => {
  window.written = [];
  const prototype = CanvasRenderingContext2D.prototype, write = prototype.fillText;
  prototype.fillText = function (text, x, y) {
    if (this.canvas.id === "trace") window.written.push([text, y, this.canvas.clientHeight]);
    return write.call(this, text, x, y);
  };
}"""


def test_both_ends_of_the_scales_of_what_has_a_sign_are_written_inside_the_drawing(
    open_page, server, url
):
    with Vehicle(server, "car-8"):
        page = open_page(url)
        page.evaluate(WRITTEN)
        row(page, "car-8").click()
        holds(page, "window.written.length >= 5")
        written = page.evaluate("() => window.written.slice(0, 5)")
    signs = [text.startswith("−") for text, *_ in written]  # noqa: RUF001 - the minus of the page
    assert signs == [False, True, False, False, True], "angle, speed, torque"
    baselines = [y for _, y, _ in written]
    assert all(after - before >= 12 for before, after in itertools.pairwise([-2, *baselines]))
    assert all(y <= height - 2 for _, y, height in written)


def test_a_vehicle_in_full_with_its_way_drawn_over_its_picture(open_page, server, url):
    with Vehicle(server, "car-7"):
        page = open_page(url)
        until(page, "#name", "it.textContent === 'car-7'")
        until(page, "#validity", "it.textContent === 'valid'")
        assert text(page, "#vehicles") == "1"
        assert text(page, ".server b") == server
        assert text(page, ".server span") == "serving"
        assert "pilotnet_lstm" in text(page, "#about")
        until(page, "#angle", "/^.[0-9]+[.][0-9]°$/.test(it.textContent)")
        until(page, "#spent-text", "it.textContent.includes('of 5000 ms')")
        until(page, "#speed", "Number(it.textContent) > 0")
        # Blue above, and below the way in another colour than the road.
        read = "Array.from(it.getContext('2d').getImageData({}, {}, 1, 1).data).slice(0, 3)"
        corner = read.format("4", "it.height - 4")
        ahead = read.format("it.width / 2", "it.height - 4")
        apart = "{}.reduce((sum, part, at) => sum + Math.abs(part - {}[at]), 0)"
        until(page, "#road", f"{corner}[1] > 60")
        until(page, "#road", f"{apart.format(ahead, corner)} > 60")
        until(page, "#trace", "it.height > 100")
        assert row(page, "car-7").get_attribute("aria-selected") == "true"


def test_no_number_is_longer_than_a_person_reads(open_page, server, url):
    terms = {"frame_rate_hz": 19.995481021289187, "budget_ms": 4321.987654321}
    with Vehicle(server, "car-7", **terms):
        page = open_page(url)
        until(page, "#vehicle-about", "it.textContent.includes('of 20 Hz')")
        until(page, "#spent-text", "it.textContent.includes('of 4322 ms')")
        holds(page, "document.querySelector('#rows td[title^=\"of \"]')")
        titles = page.evaluate("[...document.querySelectorAll('[title]')].map(it => it.title)")
        assert "of 4322 ms" in titles
        shown = "\n".join([*titles, page.evaluate("document.body.innerText")])
        assert re.findall(r"\d[.]\d{4,}", shown) == []


def test_what_is_said_of_a_picture_lies_beside_it_and_tells_what_to_do(open_page, server, url):
    with Vehicle(server, "car-7", camera=None):
        page = open_page(url)
        until(page, "#road-note", "it.textContent.includes('--camera-file')")
        picture, note = (page.locator(each).bounding_box() for each in (".view", "#road-note"))
        assert note["y"] >= picture["y"] + picture["height"]


def test_the_way_goes_where_the_wheel_or_the_horizon_turns(open_page, url):
    page = open_page(url)
    about = "{{steering_ratio: 15, wheelbase_m: 2.8}}"
    end = "way({}, 10, {}, " + about + ").at(-1)"
    forward, left, heading, passed_ms = page.evaluate(end.format("0", "[]"))
    assert (forward, left, heading) == (89.5, 0, 0)
    assert passed_ms == pytest.approx(8950)
    assert page.evaluate(end.format("0.3", "[]"))[1] > 1, "left is positive"
    assert page.evaluate(end.format("-0.3", "[]"))[1] < -1
    turns_later = page.evaluate(end.format("0", "[[1000, 0.3, 10], [2000, 0, null]]"))
    assert 0 < turns_later[1] < page.evaluate(end.format("0.3", "[]"))[1]
    middle = page.evaluate("projection(SCHEMATIC, {x: 0, y: 0, scale: 1})(10, 0)")
    lefter = page.evaluate("projection(SCHEMATIC, {x: 0, y: 0, scale: 1})(10, 1)")
    farther = page.evaluate("projection(SCHEMATIC, {x: 0, y: 0, scale: 1})(20, 0)")
    assert middle[0] == 320
    assert lefter[0] < middle[0]
    assert farther[1] < middle[1]


def test_everything_by_the_keyboard(open_page, server, url):
    with Vehicle(server, "car-1"), Vehicle(server, "car-2"), Vehicle(server, "car-10"):
        page = open_page(url)
        holds(page, "document.querySelectorAll('#rows tr').length === 3")
        names = page.locator("#rows .pick").all_text_contents()
        assert names == ["car-1", "car-2", "car-10"], "in the order that people count"
        press = page.keyboard.press
        press("Home")
        until(page, "#name", "it.textContent === 'car-1'")
        press("ArrowDown")
        press("j")
        until(page, "#name", "it.textContent === 'car-10'")
        press("k")
        until(page, "#name", "it.textContent === 'car-2'")
        assert page.evaluate("location.hash") == "#vehicle=car-2"
        press("Escape")
        until(page, "#name", "it.textContent === 'No vehicle chosen'")
        press("/")
        page.keyboard.type("CAR-10")
        holds(page, "document.querySelectorAll('#rows tr').length === 1")
        press("Enter")
        until(page, "#name", "it.textContent === 'car-10'")
        press("/")
        press("Escape")
        holds(page, "document.querySelectorAll('#rows tr').length === 3")
        press("?")
        assert page.locator("#keys").is_visible()
        press("Escape")
        assert not page.locator("#keys").is_visible()
        assert text(page, "#name") == "car-10", "Escape closed the list of keys alone"
        # The buttons can be reached, and show where one is.
        for _ in range(40):
            press("Tab")
            if page.evaluate("document.activeElement.dataset.sort") == "misses":
                break
        press("Enter")
        assert page.locator('th[aria-sort="descending"]').text_content() == "Missed"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_address_remembers_the_vehicle(open_page, server, url):
    with Vehicle(server, "car 1/2#3"), Vehicle(server, "other"):
        page = open_page(f"{url}#vehicle=car%201%2F2%233")
        until(page, "#name", "it.textContent === 'car 1/2#3'")
        until(page, "#validity", "it.textContent === 'valid'")


def test_on_a_phone(open_page, server, url):
    with Vehicle(server, "a vehicle with a rather long name " + "x" * 80):
        page = open_page(url, viewport=PHONE, has_touch=True, is_mobile=True)
        until(page, "#validity", "it.textContent === 'valid'")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for selector in ("#name", "#angle", "#speed", "#torque", "#course", "#trace", ".alarm"):
            box = page.locator(selector).first.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"])
        assert page.locator("#rows tr").first.bounding_box()["height"] >= 44, "for a thumb"


def contrast(page, colour, ground):
    """The contrast of two colours of the style sheet, by WCAG 2."""
    return page.evaluate(
        """([colour, ground]) => {
          const style = getComputedStyle(document.documentElement);
          const luminance = (name) => {
            const value = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
            const [r, g, b] = [value >> 16, (value >> 8) & 255, value & 255].map((part) => {
              const share = part / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const [light, dark] = [luminance(colour), luminance(ground)].sort((a, b) => b - a);
          return (light + 0.05) / (dark + 0.05);
        }""",
        [colour, ground],
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_can_be_read_in_the_dark_and_in_the_light(open_page, url, scheme):
    page = open_page(url, color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground[4:-1].split(",")) / 3
    assert (brightness < 60) if scheme == "dark" else (brightness > 200)
    for colour in ("--text", "--muted", "--faint", "--red", "--amber", "--accent", "--green"):
        for below in ("--card", "--ground", "--sunk"):
            assert contrast(page, colour, below) >= 4.5
    for colour in ("--queue", "--decode", "--infer", "--raw"):
        assert contrast(page, colour, "--card") >= 3
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


def test_what_is_held_is_red(open_page, server, url):
    with Vehicle(server, "car-7") as vehicle:
        page = open_page(url, color_scheme="dark")
        until(page, "#validity", "it.textContent === 'valid'")
        assert "bad" not in row(page, "car-7").get_attribute("class")
        vehicle.breaks()
        until(page, "#validity", "it.textContent.startsWith('held: undecodable')")
        until(page, "#vehicle", "it.dataset.tone === 'bad'")
        until(page, "#rows tr", "it.classList.contains('bad')")
        red = page.evaluate("getComputedStyle(document.querySelector('#vehicle')).borderTopColor")
        assert red == "rgb(255, 111, 102)"


def test_hostile_names_are_text(open_page, server, url):
    with Vehicle(server, HOSTILE):
        page = open_page(url)
        until(page, "#validity", "it.textContent === 'valid'")
        assert text(page, "#name") == HOSTILE
        assert text(page, "#rows .pick") == HOSTILE
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1
        assert page.evaluate("window.hacked") is None


def test_scripts_of_others_are_refused(browser, url):
    """Even if a name became markup one day, the page's policy would run none of it."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(url)
    assert page.evaluate(
        """() => {
          try { document.body.innerHTML = '<img src=x onerror="window.hacked=1">'; }
          catch (error) { return error instanceof TypeError; }
          return false;
        }"""
    )
    assert page.evaluate("window.hacked") is None
    context.close()


def test_without_leave_there_is_a_way_and_no_picture(open_page, bundle_path, tmp_path):
    with (
        process("--model", bundle_path, folder=tmp_path) as (_, address),
        watching("--target", address) as (_, url),
        Vehicle(address, "car-7"),
    ):
        page = open_page(url)
        until(page, "#validity", "it.textContent === 'valid'")
        until(page, "#road-note", "it.textContent.includes('--watch-pictures')")
        assert page.evaluate("state.picture") is None


@contextlib.contextmanager
def restartable(bundle_path: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "steerstream_service", "--model", str(bundle_path)]
    with subprocess.Popen([*command, "--listen", address], stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_server_that_is_killed_and_comes_back(open_page, bundle_path):
    address = free_address()
    with watching("--target", address) as (_, url), Vehicle(address, "car-7"):
        with restartable(bundle_path, address) as first:
            page = open_page(url)
            until(page, "#validity", "it.textContent === 'valid'")
            assert page.locator("#alarm").is_hidden()
            first.send_signal(signal.SIGKILL)
            first.wait()
            until(page, "#alarm", "!it.hidden && it.textContent.includes('refuses the connection')")
            assert address in text(page, "#alarm")
            until(page, ".server", "it.dataset.tone === 'bad'")
            until(page, "#vehicle", "it.dataset.state === 'lost'")
            assert "bad" in row(page, "car-7").get_attribute("class")
        with restartable(bundle_path, address):
            until(page, "#alarm", "it.hidden")
            until(page, "#validity", "it.textContent === 'valid'")
            until(page, "#vehicle", "it.dataset.state === 'here'")


def test_a_server_that_stands_still_is_silent(open_page, bundle_path):
    address = free_address()
    with watching("--target", address) as (_, url), restartable(bundle_path, address) as server:
        page = open_page(url)
        until(page, ".server", "it.dataset.tone === 'good'")
        server.send_signal(signal.SIGSTOP)
        until(page, "#alarm", "!it.hidden && it.textContent.includes('has said nothing for')")
        server.send_signal(signal.SIGCONT)
        until(page, "#alarm", "it.hidden")


def test_the_page_says_that_its_own_process_is_gone_and_comes_back_with_it(open_page, server):
    place = free_address()
    with Vehicle(server, "car-7"):
        with watching("--target", server, listen=place) as (_, url):
            page = open_page(url)
            until(page, "#validity", "it.textContent === 'valid'")
        until(page, "#alarm", "!it.hidden && it.textContent.includes('steerstream watch')")
        with watching("--target", server, listen=place):
            until(page, "#alarm", "it.hidden")
            until(page, "#validity", "it.textContent === 'valid'")


def test_vehicles_of_two_servers(open_page, server, bundle_path, tmp_path):
    with (
        process("--model", bundle_path, folder=tmp_path) as (_, other),
        watching("--target", server, "--target", other) as (_, url),
        Vehicle(server, "here"),
        Vehicle(other, "there"),
    ):
        page = open_page(url)
        holds(page, "document.querySelectorAll('#rows tr').length === 2")
        assert page.locator(".server b").all_text_contents() == [server, other]
        assert text(page, "#vehicles") == "2"
        page.keyboard.press("End")
        until(page, "#vehicle-about", f"it.textContent.includes({other!r})")
        page.keyboard.press("s")
        assert page.locator('.server[aria-pressed="true"] b').text_content() == server
