from __future__ import annotations

import argparse
import json

import pytest

from steerstream import SessionLost
from steerstream.bridge.options import add_session_options
from steerstream.bridge.vehicle_session import add_driving_options, open_driver
from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.driving import PICTURE
from tests.steerstream.wired import serving


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_driving_options(parser)
    add_session_options(parser)
    return parser.parse_args([*words])


async def test_the_session_says_what_the_options_do_and_is_reported(tmp_path, capsys):
    out, fake = tmp_path / "out.json", FakeServer(lambda frame: Reply(0.1))
    async with serving(fake) as (target, _):
        given = options(
            "--target", target, "--fov-deg", "60", "--rate-hz", "10", "--json", str(out)
        )
        async with open_driver(given, "a game") as driver:
            await driver.order(PICTURE, 5.0)
    opening = fake.received[0].open
    assert (opening.frame_rate_hz, opening.camera.horizontal_fov_deg) == (10.0, 60.0)
    result = json.loads(out.read_text())
    assert (result["source"], result["frames"], result["commands"]) == ("a game", 1, 1)
    assert "round trip" in capsys.readouterr().out


async def test_what_ended_the_session_is_raised_after_the_block(capsys):
    lost = SessionLost("gone")
    async with serving(FakeServer()) as (target, _):
        with pytest.raises(SessionLost, match="gone"):
            async with open_driver(options("--target", target), "a game") as driver:
                driver.error = lost
    assert capsys.readouterr().out == ""
