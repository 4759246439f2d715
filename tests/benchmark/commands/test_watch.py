"""What the live page costs, measured small."""

from __future__ import annotations

import json

from benchmark.__main__ import main


def test_it_measures_the_page_and_the_server_that_it_shows(bundle_path, tmp_path, capsys):
    result = tmp_path / "watch.json"
    options = ["--vehicles=3", "--seconds=0.5", "--turns=1", "--size=64x48", "--encoding=rgb8"]
    assert main(["watch", f"--model={bundle_path}", *options, f"--json={result}"]) == 0
    results = json.loads(result.read_text())["results"]
    assert results["vehicles"] == 3
    assert results["page_bytes_per_s"] > 1000, "a page looked, and one vehicle was shown in full"
    assert results["page_cpu"] > 0
    assert results["server_cpu_watched"] > 0
    assert len(results["turns"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| what | share of a core |"
    assert lines[2].startswith("| the page's process, 3 sessions at 20 Hz | ")
