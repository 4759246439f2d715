#!/usr/bin/env bash
# OpenCV tells a rate, a number of pictures and times of a raw H.264 stream that are not true.
#
# Version: opencv-python-headless 5.0.0.93, av 18.1.0 writes the stream.
# Guess: of a stream without a container, `CAP_PROP_FPS` is the rate that the stream states, or 0 where
#     nobody knows it, as the number of pictures would be; `CAP_PROP_POS_MSEC` goes forward with each picture.
# Behaviour: the rate is 25 whatever the stream states, the number of pictures is far below 0, and every
#     picture is at 0 ms. Nothing is said. A recording of 20 Hz, such as a dash camera's `.hevc` file, seems
#     to run a quarter too fast.
# Output seen: six pictures whose stream states 20 Hz: `25.0 True [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]`, and by
#     PyAV 20.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.4.6 2>/dev/null

seen=$(cd "$folder" && PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
from fractions import Fraction

import av
import cv2
import numpy

encoder = av.CodecContext.create("libx264", "w")
encoder.width, encoder.height, encoder.pix_fmt = 64, 64, "yuv420p"
encoder.framerate, encoder.time_base = Fraction(20), Fraction(1, 20)
encoder.options = {"bf": "0", "tune": "zerolatency"}
packets = []
for shade in range(0, 240, 40):
    picture = numpy.full((64, 64, 3), shade, numpy.uint8)
    packets += encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
packets += encoder.encode(None)
with open("stream.h264", "wb") as file:
    file.write(b"".join(bytes(packet) for packet in packets))

video = cv2.VideoCapture("stream.h264")
times = []
while video.read()[0]:
    times.append(video.get(cv2.CAP_PROP_POS_MSEC))
print(video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT) < 0, times)
with av.open("stream.h264") as container:
    next(container.decode(video=0))
    print(float(container.streams.video[0].codec_context.framerate))
PROGRAM
)
expected="25.0 True [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
20.0"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
