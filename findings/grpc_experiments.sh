#!/usr/bin/env bash
# gRPC reads `GRPC_EXPERIMENTS` at import, and prints lines for names that it does not know.
#
# Versions: grpcio 1.81.1 and 1.85.3.
# Guess: a setting is read when the first channel or server is made, and an experiment that a newer
#     version has dropped is ignored.
# Behaviour: the variable counts at import alone. grpcio 1.85.3 has no `event_engine_dns` any more
#     and writes two lines to stderr about it, past Python's logging.
# Output seen: `config.cc:137] Unknown experiment: event_engine_dns` with 1.85.3, nothing with 1.81.1,
#     and nothing with 1.85.3 where the variable is set after the import.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 1.81.1 1.85.3; do
    python3 -m pip install --quiet --target "$folder/$version" "grpcio==$version" 2>/dev/null
done
name=-event_engine_dns

old=$(GRPC_EXPERIMENTS=$name PYTHONPATH="$folder/1.81.1" timeout 60 python3 -c "import grpc" 2>&1)
new=$(GRPC_EXPERIMENTS=$name PYTHONPATH="$folder/1.85.3" timeout 60 python3 -c "import grpc" 2>&1)
later=$(PYTHONPATH="$folder/1.85.3" timeout 60 python3 - "$name" 2>&1 <<'PROGRAM'
import os, sys
import grpc
os.environ["GRPC_EXPERIMENTS"] = sys.argv[1]
grpc.insecure_channel("127.0.0.1:1").close()
PROGRAM
)
seen="[$old] [$(grep -o "Unknown experiment: event_engine_dns" <<<"$new" | head -1)] [$later]"
expected="[] [Unknown experiment: event_engine_dns] []"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
