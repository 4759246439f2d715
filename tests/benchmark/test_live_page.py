"""The live page beside a benchmark or the demo."""

from __future__ import annotations

import os
import urllib.request

import pytest

from benchmark.errors import BenchmarkError
from benchmark.live_page import live_page


def test_the_page_is_there_for_a_block():
    with (
        live_page("127.0.0.1:1", "127.0.0.1:2") as page,
        urllib.request.urlopen(page.url, timeout=60) as answer,
    ):
        assert answer.status == 200
    with pytest.raises(ProcessLookupError):
        os.kill(page.pid, 0)


def test_a_page_that_does_not_start_is_named():
    with pytest.raises(BenchmarkError, match="did not start"), live_page(""):
        pass
