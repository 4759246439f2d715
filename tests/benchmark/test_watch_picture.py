"""The picture of the live page."""

from __future__ import annotations

import cv2

from benchmark import watch_picture
from tests.deploy.tools import tool


def test_the_picture_shows_the_page(monkeypatch, tmp_path):
    tool("chromium")
    monkeypatch.setattr(watch_picture, "OTHERS", 1)
    out = tmp_path / "watch.png"
    options = [f"--out={out}", "--scheme=light", "--seconds=1"]
    monkeypatch.setattr("sys.argv", ["watch_picture", *options])
    assert watch_picture.main() == 0
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.shape == (1200, 1920, 3)
    assert picture[5, 5].mean() > 200, "light"


def test_without_a_browser_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["watch_picture", f"--out={tmp_path / 'watch.png'}"])
    assert watch_picture.main() == 2
    assert capsys.readouterr().err == (
        "watch_picture: no chromium is installed; see make deploy-tools\n"
    )
