#!/usr/bin/env bash
# cantools encodes a float64 of NumPy, and refuses a float32 with an AttributeError.
#
# Version: cantools 45.1.0.
# Guess: `Message.encode` takes any number.
# Behaviour: what is no `int` or `float` is taken for a named value of the signal. A float64 of NumPy
#     is a Python `float`; float32 and all integers of NumPy are not.
# Output seen: `'numpy.float32' object has no attribute 'value'`; `float(value)` before it helps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" cantools==45.1.0 numpy==2.4.6 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import cantools, numpy
database = cantools.database.load_string("""VERSION ""
BU_: A
BO_ 100 Steering: 8 A
 SG_ Angle : 0|16@1- (0.1,0) [-1600|1600] "deg" A
""", "dbc")
message = database.get_message_by_name("Steering")
print(message.encode({"Angle": numpy.float64(12)}).hex())
try:
    print(message.encode({"Angle": numpy.float32(12)}).hex())
except AttributeError as error:
    print(error)
PROGRAM
)
expected="7800000000000000
'numpy.float32' object has no attribute 'value'"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
