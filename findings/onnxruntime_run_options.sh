#!/usr/bin/env bash
# ONNX Runtime's `run_with_iobinding` takes ten times as long with run options as without.
#
# Version: onnxruntime 1.32.0, CPU.
# Guess: an empty `RunOptions` costs nothing.
# Behaviour: each run looks up the option `gpu_graph_id`, on a CPU as well; where it is not set, a C++
#     exception is thrown and caught. Setting it to "-1", the value for "no graph", avoids that.
# Output seen: 1.8 us a run without options, 26.2 us with empty ones, 1.6 us with `gpu_graph_id` "-1"
#     (one Identity node, one thread, best of twenty).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 2>/dev/null
export ORT_DISABLE_TELEMETRY=1

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import sys
import time
import numpy, onnxruntime
from onnx import TensorProto, helper

value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
node = helper.make_node("Identity", ["x"], ["y"])
graph = helper.make_graph([node], "g", [value("x")], [value("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
memory = [onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros(1, numpy.float32)) for _ in "xy"]
binding = session.io_binding()
binding.bind_ortvalue_input("x", memory[0])
binding.bind_ortvalue_output("y", memory[1])

def microseconds(options):
    times = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            session.run_with_iobinding(binding, options)
        times.append(time.perf_counter() - began)
    return min(times) / 500 * 1e6

named = onnxruntime.RunOptions()
named.add_run_config_entry("gpu_graph_id", "-1")
without, empty, with_name = map(microseconds, (None, onnxruntime.RunOptions(), named))
print(empty > 4 * max(without, with_name), file=sys.stdout)
print(f"{without:.1f} {empty:.1f} {with_name:.1f} us", file=sys.stderr)
PROGRAM
)
expected=True
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
