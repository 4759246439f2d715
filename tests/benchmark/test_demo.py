"""`make demo`: the server, a drive, and what it leaves."""

from __future__ import annotations

import json

import pytest

from benchmark import demo


def test_the_demo_leaves_figures_a_video_and_pictures(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "SECONDS", 1)
    monkeypatch.setattr(demo, "KILL_SECONDS", 4)
    images = tmp_path / "images"
    images.mkdir()
    monkeypatch.setattr("sys.argv", ["demo", f"--out={tmp_path / 'out'}", f"--images={images}"])
    assert demo.main() == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["drive"]["frames"] == 20
    assert summary["kill"]["with_state"]
    assert summary["kill"]["gap_ms"] > 0
    for name in ("drive.mp4", "drive.png", "kill.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    for name in ("drive.png", "kill.png"):
        assert (images / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize(("late", "remark"), [(20, False), (60, True)])
def test_a_drive_with_many_late_frames_says_that_the_machine_is_busy(late, remark):
    said = demo.late_remark({"frames_over_budget": late, "frames": 1000, "budget_ms": 50.0})
    assert (said is not None) is remark
    if said is not None:
        assert said.startswith("6% of the frames had no command in 50 ms, because this machine is")


def test_a_drive_whose_guard_let_go_says_so_and_when_it_follows_again():
    assert demo.release_remark({"releases": 0}) is None
    said = demo.release_remark({"releases": 1, "guard": {"released_s": 8.46}})
    assert said is not None
    assert said.startswith("The vehicle's guard let go for 8.5 s")
    assert "more than 20 of 100 frames were lost, which only 20 good answers in a row" in said


def test_data_that_is_not_there_is_named_before_anything_starts(tmp_path):
    with pytest.raises(demo.DemoError, match=r"labels\.csv: --data names the folder"):
        demo.run(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
