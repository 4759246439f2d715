"""A tiny bundle, and a checkout with results of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_export.report import results

README = "# name\n\n<!-- models:begin -->\nold\n<!-- models:end -->\n\nrest\n"
ANGLE = {"rmse": 0.0512, "mae": 0.03, "rmse_zero": 0.25, "rmse_mean": 0.24}
DRIVE = {
    "autonomy_percent": 100.0,
    "interventions": 0,
    "lateral_error_mean_m": 0.1,
    "lateral_error_max_m": 0.5,
}


@pytest.fixture
def checkout(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that was measured in all ways, and a README with a place for its row."""
    models = tmp_path / "models"
    models.mkdir()
    (models / bundle.name).write_bytes(bundle.read_bytes())
    torque: dict[str, object] = {"rmse": 0.38, "mae": 0.3, "rmse_zero": 0.62, "rmse_mean": 0.61}
    torque |= {"calibration": {"mean_stddev": 0.4, "coverage_68": 0.7, "coverage_95": 0.96}}
    traces = {"heads": {"steering_torque": torque | {"covered": [0.5] * 19}}}
    figures = {
        "sources": {
            "udacity_ch2": {"heads": {"steering_wheel_angle": ANGLE}},
            "udacity_traces": traces | {"rmse_linear": {"steering_torque": 0.44}},
            "rendered": {"heads": {"steering_wheel_angle": ANGLE}},
        },
        "losses": [
            {"drop": 0.0, "rate_hz": None, "rmse": 0.05, "rmse_held": 0.05},
            {"drop": 0.3, "rate_hz": None, "rmse": 0.06, "rmse_held": 0.055},
        ],
        "origin": {"about": "A small one.", "parameters": 1234, "seconds": 90, "seeds": []},
    }
    times = {f"batch_{batch}_ms": {"median": 0.5} for batch in (1, 16)}
    drives = [DRIVE | {"delay_ms": delay} for delay in (0.0, 0.0, 150.0)]
    judged = {"precision": "int8", "int8": {"size_bytes": 500_000}}
    judged |= {
        "rmse_ratio": {"udacity_ch2": {"steering_wheel_angle": 1.004}},
        "speed_ratio": {"1": 1.41},
    }
    angle = {"rmse_whole": 0.1, "rmse_view": 0.101, "rmse_ratio": 1.01, "largest_difference": 0.02}
    view = {"width_px": 24, "height_px": 16, "encoding": "JPEG_444", "jpeg_quality": 90}
    seen = {"frames": 964, "frame_bytes": 6185, "heads": {"steering_wheel_angle": angle}}
    put_back = {"interventions": 2, "autonomy_percent": 75.0, "lane_departures": 3}
    recorded = {"delay_ms": 50.0, "told": False, "drives": 12, "speed_mps": 15.0} | DRIVE | put_back
    link = DRIVE | {"lane_departures": 1, "drives": 5, "simulated_s": 75.0, "speed_mps": None}
    cases = [
        link | {"case": "150 ms", "world": "rendered roads"},
        link | {"case": "150 ms", "world": "real pictures", "lateral_error_mean_m": 0.2},
        link | {"case": "25 m/s", "world": "rendered roads", "speed_mps": 25.0},
    ]
    lens = {"fov_deg": 60.0, "lens": "brown_conrady", "distortion": [-0.3, 0.1, 0.0, 0.0]}
    lens |= {"image_size_px": [640, 480], "autonomy_least_percent": 80.0}
    contents = {
        "accuracy": figures,
        "speed": times,
        "autonomy": drives,
        "optimized": [judged | {"verdict": "refused"}],
        "pictures": [recorded],
        "metres": cases,
        "lenses": [DRIVE | lens | {"drives": 10, "simulated_s": 150.0}],
        "view": view | {"sources": {"udacity_ch2": seen}},
    }
    for kind, content in contents.items():
        path = tmp_path / results.path_of(kind, bundle)
        results.write(
            path, kind, results.digest(bundle), f"python -m model_export measure {kind}", content
        )
    (tmp_path / "README.md").write_text(README)
    return tmp_path


def changed(path: Path, key: str, value: object) -> None:
    """Change one entry of a file of JSON."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
