"""The page of the models is what the bundles and the files of results say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.options import CHECKOUT
from model_export.report import page, results
from model_export.report.commands import bundles
from model_export.report.evidence import gather
from steerstream_bundle.contract import GREATEST_RMSE_RATIO


def report(checkout: Path, *options: str) -> int:
    return main(["report", "--models", str(checkout / "models"), "--root", str(checkout), *options])


def test_the_page_shows_every_figure_with_its_command(checkout: Path):
    assert report(checkout) == 0
    written = (checkout / page.PAGE).read_text()
    for part in (
        "| `tiny` | recurrent 12 | 1,234 |",
        "| 0.50 ms | 0.051 rad | 100 / 100 % |",
        "| **`tiny`** | - | - | 0.380 Nm |",
        "| a line through true angle, its rate and speed | - | - | 0.440 Nm |",
        "| `tiny` | 70.0 % | 96.0 % |",
        "| `tiny` | no | 0.0500 | 0.0600 (+20%) |",
        "| `tiny` | 150 ms | 100.0 % | 100.0 % | 0 | 0.10 m | 0.50 m |",
        "| `tiny` | 50 ms | no | 75.0 % | 2 | 3 | 0.10 m | 0.50 m |",
        "| `tiny` | 0.051 rad | 1 | 2 | 1 |",
        "| network | 150 ms |\n| --- | ---: |\n| `tiny` | 0.10 / 0.50 m, 1, 100 % |",
        "| `tiny` | 0.20 / 0.50 m, 1, 100 % |",
        "| network | 25 m/s |",
        "| `tiny` | 60 degrees, brown-conrady (-0.3, 0.1, 0, 0) | 640x480 | 100.0 % | 80.0 % | 0 |",
        "| the best: steering RMSE, real drive | at most 0.08 rad | 0.0512 rad | reached |",
        "| `tiny` | int8 | 1.004 | 1.410 | 0.50 MB | refused |",
        "| `tiny` | 24x16 JPEG 444, 90 | `udacity_ch2`, 964 | 6.2 | 1.010 | 0.020 rad |",
        "A small one.",
        "`python -m model_export measure speed`",
    ):
        assert part in written
    for name in ("tiny.svg", "calibration.svg"):
        assert (checkout / page.PICTURES / name).read_text().startswith("<?xml")
    assert report(checkout, "--check") == 0


def test_the_readme_gets_its_row_and_keeps_the_rest(checkout: Path):
    assert report(checkout) == 0
    readme = (checkout / page.README).read_text()
    assert "| `tiny` | recurrent 12 |" in readme
    assert "old" not in readme
    assert readme.endswith("<!-- models:end -->\n\nrest\n")


def test_a_missing_measurement_is_a_dash(checkout: Path):
    for path in (checkout / results.FOLDER).iterdir():
        path.unlink()
    assert report(checkout) == 0
    assert "| `tiny` | recurrent 12 | - |" in (checkout / page.PAGE).read_text()


@pytest.mark.parametrize("path", [page.PAGE, page.README])
def test_a_page_that_differs_from_its_results_is_found(checkout: Path, path: Path, capsys):
    assert report(checkout) == 0
    content = (checkout / path).read_text()
    (checkout / path).write_text(content.replace("0.50 ms", "0.05 ms"))
    assert report(checkout, "--check") == 2
    assert "run `python -m model_export report`" in capsys.readouterr().err


def test_results_of_other_bytes_are_refused(checkout: Path, capsys):
    bundle = checkout / "models" / "tiny.onnx"
    bundle.write_bytes(bundle.read_bytes() + b"\0\0")
    assert report(checkout) == 2
    error = capsys.readouterr().err
    assert "was measured of another tiny.onnx; measure again" in error


def test_a_file_that_is_no_result_is_named(checkout: Path, capsys):
    (checkout / results.path_of("speed", Path("tiny.onnx"))).write_text("{}")
    assert report(checkout) == 2
    assert "speed-tiny.json: not a result" in capsys.readouterr().err


def test_a_folder_without_bundles_is_said(tmp_path: Path, capsys):
    assert main(["report", "--models", str(tmp_path)]) == 2
    assert "no bundle" in capsys.readouterr().err


def test_the_committed_page_is_what_the_results_say():
    assert main(["report", "--check"]) == 0


def test_every_bundle_that_ships_was_measured_in_all_ways():
    evidence = gather(CHECKOUT, bundles(CHECKOUT / "models"))
    kinds = ("accuracy", "speed", "closed_loop", "optimized", "view", "pictures", "metres")
    missing = [
        (found.name, kind) for found in evidence for kind in kinds if getattr(found, kind) is None
    ]
    assert missing == []
    for found in evidence:
        assert {0.0, 50.0, 150.0} <= found.drives().keys()
        assert all(len(drives) == 10 for drives in found.drives().values())


def test_views_keep_the_accuracy_of_every_bundle_that_ships():
    for found in gather(CHECKOUT, bundles(CHECKOUT / "models")):
        assert found.view is not None
        for source, figures in found.view["results"]["sources"].items():
            for head, one in figures["heads"].items():
                assert one["rmse_ratio"] <= GREATEST_RMSE_RATIO, (found.name, source, head)
