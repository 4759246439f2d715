from __future__ import annotations

import math

import pytest

from steerstream import MediaError
from steerstream.command_line import Parser
from steerstream.sources.arguments import add_read_options, read_options


def parsed(*words):
    parser = Parser()
    add_read_options(parser)
    return read_options(parser.parse_args(words), 25.0)


def test_a_command_line_says_how_a_recording_is_read(tmp_path):
    options = parsed(
        "--images", str(tmp_path), "--camera", "left", "--steering", "/a:b",
        "--max-angle-deg", "180", "--flip-steering", "--skip-bad",
    )  # fmt: skip
    assert (options.images, options.rate_hz) == (tmp_path, 25.0)
    assert (options.camera, options.steering) == ("left", "/a:b")
    assert options.normalised(1.0) == -math.pi
    options.bad_rows.found("a:1", "no record")
    assert len(options.bad_rows.summary()) == 1


def test_without_words_a_recording_says_everything_itself():
    options = parsed()
    assert (options.images, options.camera, options.steering) == (None, "", "")
    assert options.max_angle_rad is None
    with pytest.raises(MediaError):
        options.bad_rows.found("a:1", "no record")
