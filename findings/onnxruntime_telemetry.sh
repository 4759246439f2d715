#!/usr/bin/env bash
# ONNX Runtime keeps a telemetry database in the home directory.
#
# Version: onnxruntime 1.32.0 on Linux (the first with it is 1.29).
# Guess: importing a library writes no files.
# Behaviour: the import creates `~/.cache/Microsoft/DeveloperTools/.onnxruntime` with a device id and
#     an SQLite database. `ORT_DISABLE_TELEMETRY=1` before the import prevents it, and so does `CI`,
#     which hides it from most test suites.
# Output seen: files `deviceid`, `onnxruntime.db`; none with `ORT_DISABLE_TELEMETRY=1` or `CI=true`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" onnxruntime==1.32.0 numpy==2.4.6 2>/dev/null

# Prints the files that the import leaves in an empty home directory; arguments are variables.
files_after_import() {
    rm -rf "$folder/home" && mkdir "$folder/home"
    env -i PATH="$PATH" HOME="$folder/home" PYTHONPATH="$folder/site" "$@" timeout 60 python3 -c "import onnxruntime"
    find "$folder/home" -type f -printf "%f\n" | grep -x -e deviceid -e onnxruntime.db | sort | paste -s -d " "
}

seen="$(files_after_import) | $(files_after_import ORT_DISABLE_TELEMETRY=1 || true) | $(files_after_import CI=true || true)"
expected="deviceid onnxruntime.db |  | "
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
