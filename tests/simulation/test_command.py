import cv2
import pytest

from steerstream_simulation.command import main


def test_render_writes_a_video(tmp_path):
    video = tmp_path / "drive.mp4"
    assert main(["render", "--seed", "4", "--seconds", "0.5", "--save", str(video)]) == 0
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 640


def test_sheet_writes_a_picture(tmp_path):
    sheet = tmp_path / "sheet.png"
    assert main(["sheet", "--seeds", "1..2", "--size", "160x120", "--save", str(sheet)]) == 0
    assert cv2.imread(str(sheet)).shape == (240, 800, 3)


def test_no_server_is_one_clear_line(capsys):
    assert main(["drive", "--target", "localhost:1", "--seconds", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("steerstream simulate: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "-1"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--size", "320"],
        ["--size", "9999x240"],
        ["--save", "drive.avi"],
        ["--encoding", "png"],
        ["--delay-ms", "-3"],
        ["--delay-ms", "50", "--real-time"],
        ["--real-time", "--lock-step"],
    ],
)
def test_a_wrong_option_says_so(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["drive", "--target", "localhost:1", *arguments])
    assert exit_info.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_seeds_are_a_range(capsys):
    with pytest.raises(SystemExit):
        main(["sheet", "--seeds", "5..2", "--save", "sheet.png"])
    assert "A..B" in capsys.readouterr().err
