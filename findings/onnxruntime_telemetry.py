"""ONNX Runtime keeps a telemetry database in the home directory.

Version: onnxruntime 1.32.0 on Linux (the first with it is 1.29).
Guess: importing a library writes no files.
Behaviour: the import creates `~/.cache/Microsoft/DeveloperTools/.onnxruntime` with a device id and
    an SQLite database. `ORT_DISABLE_TELEMETRY=1` before the import prevents it, and so does `CI`,
    which hides it from most test suites.
Output seen: files `deviceid`, `onnxruntime.db`; none with `ORT_DISABLE_TELEMETRY=1` or `CI=true`.
"""

from __future__ import annotations

from _packages import conclude, run

PACKAGES = ("onnxruntime==1.32.0", "numpy==2.4.6")
PROGRAM = "import onnxruntime"

_, left = run(PROGRAM, *PACKAGES)
_, disabled = run(PROGRAM, *PACKAGES, environment={"ORT_DISABLE_TELEMETRY": "1"})
_, in_ci = run(PROGRAM, *PACKAGES, environment={"CI": "true"})
conclude({"deviceid", "onnxruntime.db"} <= set(left) and not disabled and not in_ci, left)
