"""The page of figures is what the files of results say, and nothing else."""

from __future__ import annotations

import json

import pytest

from benchmark.__main__ import main
from benchmark.commands import result_pages
from benchmark.loadgen.tally import Tally

README = "# name\n\n<!-- latency:begin -->\nold\n<!-- latency:end -->\n\nrest\n"


@pytest.fixture
def checkout(tmp_path):
    tally = Tally(budget_ms=50.0, frames=2, commands=2, opened=1)
    tally.stages["round_trip"].add_many([5.0, 7.0])
    result = {
        "vehicles": 1,
        "budget_ms": 50.0,
        "seconds": 1.0,
        "stolen": 0.0,
        **tally.summary(),
    }
    machine = {"date": "2026-01-02T03:04:05+00:00", "processor": "a processor", "cores": 2}
    machine |= {"python": "3.11.0", "packages": {"grpcio": "1.0"}, "revision": "abc"}
    written = {"benchmark": "latency", "command": "python -m benchmark latency"}
    folder = tmp_path / result_pages.RESULTS
    folder.mkdir(parents=True)
    (folder / "latency-cpu.json").write_text(
        json.dumps(written | {"machine": machine, "results": [result]})
    )
    (folder / "latency-cpu.md").write_text("It rained.\n")
    (tmp_path / result_pages.README).write_text(README)
    return tmp_path


def test_the_page_shows_figures_note_command_and_machine(checkout):
    pytest.importorskip("matplotlib")
    assert main(["report", "--root", str(checkout)]) == 0
    page = (checkout / result_pages.PAGE).read_text()
    for part in ("7.00 ms", "It rained.", "`python -m benchmark latency`", "a processor", "abc"):
        assert part in page
    assert (checkout / result_pages.PICTURES / "latency-cpu.svg").read_text().startswith("<?xml")
    readme = (checkout / result_pages.README).read_text()
    assert "| 1 | 5.00 ms |" in readme
    assert "old" not in readme
    assert readme.endswith("<!-- latency:end -->\n\nrest\n")
    assert main(["report", "--root", str(checkout), "--check"]) == 0


@pytest.mark.parametrize("path", [result_pages.PAGE, result_pages.README])
def test_a_page_that_differs_from_its_results_is_found(checkout, path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", "--root", str(checkout)]) == 0
    changed = (checkout / path).read_text().replace("7.00 ms", "6.00 ms")
    (checkout / path).write_text(changed)
    assert main(["report", "--root", str(checkout), "--check"]) == 2
    assert "python -m benchmark report" in capsys.readouterr().err


def test_a_file_that_is_no_result_is_named(checkout, capsys):
    (checkout / result_pages.RESULTS / "other.json").write_text("{}")
    assert main(["report", "--root", str(checkout)]) == 2
    assert "other.json" in capsys.readouterr().err


def test_the_committed_page_is_what_the_results_say():
    assert main(["report", "--check"]) == 0
