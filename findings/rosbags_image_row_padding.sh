#!/usr/bin/env bash
# rosbags-image shears a raw ROS image whose rows are padded.
#
# Version: rosbags-image 0.10.4.
# Guess: `message_to_cvimage` uses the message's `step`, the length of a row in bytes, as
#     `sensor_msgs/Image` defines it.
# Behaviour: it ignores `step` and reads pixels without a break, so that every row after the first
#     begins earlier than the one before. Nothing is said.
# Output seen: of four rows of 5 pixels in 16 bytes, the first is right and three are wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" rosbags-image==0.10.4 rosbags==0.11.9 opencv-python-headless==5.0.0.93 numpy==2.4.6 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import numpy
from rosbags.image import message_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_HUMBLE).types
pixels = numpy.arange(4 * 5 * 3, dtype=numpy.uint8).reshape(4, 5, 3)
rows = numpy.zeros((4, 16), numpy.uint8)
rows[:, :15] = pixels.reshape(4, 15)
stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
image = types["sensor_msgs/msg/Image"](header, 4, 5, "rgb8", 0, 16, rows.reshape(-1))
print((message_to_cvimage(image) == pixels).all(axis=(1, 2)).tolist())
PROGRAM
)
expected="[True, False, False, False]"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
