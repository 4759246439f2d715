"""What does not yet keep a rule of `test_structure.py`. The sets may only shrink."""

from __future__ import annotations

WITHOUT_MIRROR = {
    "service/steerstream_service/domain.py",
    "service/steerstream_service/engine/pooled_graph.py",
    "steerstream/__main__.py",
    "steerstream/answers.py",
    "steerstream/drive/recorder.py",
    "steerstream/drive/report.py",
    "steerstream/drive/runner.py",
    "steerstream/errors.py",
    "steerstream/metadata.py",
    "steerstream/models.py",
    "steerstream/quiet.py",
    "steerstream/testing/answers.py",
    "steerstream/testing/clock.py",
    "steerstream/testing/script.py",
    "steerstream/testing/server.py",
}
"""Modules without a test module of the same name."""

WITHOUT_ARGS = {
    "model_export/data/recording.py: record",
    "model_export/data/rendered.py: read",
    "model_export/data/sources.py: read_source",
    "model_export/data/udacity_sim.py: read",
    "model_export/evaluation/evaluate.py: run_over",
    "model_export/export/exporter.py: contract",
    "model_export/export/exporter.py: write",
    "model_export/export/onnx_graph.py: set_attribute",
    "model_export/networks/parts/cells.py: ProjectedLstmCell",
    "model_export/networks/parts/cells.py: recurrent",
    "model_export/networks/parts/losses.py: mean_known",
    "model_export/report/cells.py: row",
    "model_export/report/commands.py: measure_accuracy",
    "model_export/report/commands.py: measure_speed",
    "model_export/report/results.py: load",
    "model_export/training/health/pictures.py: draw_gates",
    "model_export/training/health/pictures.py: draw_units",
    "model_export/training/scoring.py: predict",
    "service/steerstream_service/engine/accelerator.py: Bus.download",
    "service/steerstream_service/engine/accelerator.py: Bus.upload",
    "simulation/steerstream_simulation/closed_loop.py: CommandQueue.put",
    "simulation/steerstream_simulation/commands.py: render",
    "simulation/steerstream_simulation/lens.py: Lens.expose",
    "simulation/steerstream_simulation/noise.py: smooth_line",
    "simulation/steerstream_simulation/noise.py: smoothstep",
    "simulation/steerstream_simulation/report.py: summarise",
    "simulation/steerstream_simulation/scoring.py: Score.add",
    "simulation/steerstream_simulation/sheet.py: write_sheet",
    "simulation/steerstream_simulation/vehicle.py: Vehicle.place",
    "simulation/steerstream_simulation/vehicle.py: VehicleParameters.steady_torque_nm",
}
"""Public functions that do not explain three or more parameters."""
