"""Take the picture of the live page: `python -m benchmark.watch_picture --out watch.png`.

A vehicle drives a rendered road, others send pictures, and Debian's Chromium, driven by Playwright,
shows the page: what `make deploy-tools` installs. The font is Inter (Debian's fonts-inter) where it
is installed, else the machine's own.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from benchmark.commands.server_options import DEFAULT_MODEL
from benchmark.errors import BenchmarkError
from benchmark.host.machine import split_cores
from benchmark.live_page import live_page
from benchmark.loadgen import synthetic_road
from benchmark.loadgen.crew import crew
from benchmark.loadgen.open_loop import Load
from steerstream.command_line import CANNOT_START, INTERRUPTED, Parser, png_file, sigterm_interrupts
from steerstream.testing.server_process import ServerFailedError, serve

VEHICLE = "simulation"
"""The name under which `steerstream simulate drive` is told to drive."""
OTHERS = 8
SEED = 7
SCHEMES = ("dark", "light")


def main() -> int:
    """Take the picture; return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=png_file, required=True, help="where the picture goes, .png")
    parser.add_argument("--scheme", choices=SCHEMES, default="dark", help="dark or light")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to drive before it")
    options = parser.parse_args()
    try:
        with sigterm_interrupts():
            take(options.out, options.scheme, options.seconds)
    except (BenchmarkError, ServerFailedError) as error:
        print(f"watch_picture: {error}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def take(out: Path, scheme: Literal["dark", "light"], seconds: float) -> None:
    """Drive, and take the picture of the page.

    Args:
        out: where it goes.
        scheme: dark or light.
        seconds: how long to drive before.

    Raises:
        BenchmarkError: there is no browser, or the page did not start.
    """
    program = shutil.which("chromium")
    if program is None:
        raise BenchmarkError("no chromium is installed; see make deploy-tools")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - few need it
    except ImportError:
        raise BenchmarkError("playwright is not installed; see make deploy-tools") from None
    with (
        serve(DEFAULT_MODEL, options=["--watch-pictures"]) as server,
        _drive(server.address),
        _others(server.address, seconds + 5.0),
        live_page(server.address) as shown,
        sync_playwright() as playwright,
    ):
        # A container gives a browser no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(
            color_scheme=scheme, viewport={"width": 1280, "height": 800}, device_scale_factor=1.5
        )
        page.goto(f"{shown.url}#vehicle={VEHICLE}")
        page.wait_for_timeout(1e3 * seconds)
        page.screenshot(path=out)
        browser.close()


@contextlib.contextmanager
def _drive(target: str) -> Iterator[None]:
    """Drive a rendered road for the time of a block."""
    options = [
        "--real-time",
        f"--vehicle-id={VEHICLE}",
        "--seconds=600",
        f"--seed={SEED}",
        f"--target={target}",
    ]
    command = [sys.executable, "-m", "steerstream", "simulate", "drive", *options]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def _others(target: str, seconds: float) -> Iterator[None]:
    """Have other vehicles send pictures beside the block."""
    load = Load(
        vehicles=OTHERS,
        rate_hz=10.0,
        seconds=seconds,
        budget_ms=200.0,
        pictures=synthetic_road.picture_set("jpeg", 320, 240),
        name="car",
    )
    with crew(1, split_cores()[1]) as others:
        sending = threading.Thread(target=others.run_all, args=[target, [load]])
        sending.start()
        try:
            yield
        finally:
            sending.join()


if __name__ == "__main__":
    sys.exit(main())
