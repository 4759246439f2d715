#!/usr/bin/env bash
# gRPC's shortest pause between two attempts to connect is also the longest time that an attempt may take.
#
# Version: grpcio 1.85.3.
# Guess: `grpc.min_reconnect_backoff_ms` is a pause, so that a small value only makes a client come
#     back sooner; how long a server may take to answer a connection stays as it was (20 s).
# Behaviour: the same value bounds the attempt itself, up to HTTP/2's first settings. A server that
#     is a little farther away, or busy, is never reached while attempts are made one after the other.
# Output seen: a server that answers a new connection after 400 ms: `OK` with the defaults,
#     `DEADLINE_EXCEEDED` after five seconds of attempts with 100 ms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import socket, threading, time
from concurrent import futures
import grpc

server = grpc.server(futures.ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Call": handler}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()

def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass

def answer_late(client):
    time.sleep(0.4)
    upstream = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=copy, args=(upstream, client), daemon=True).start()
    copy(client, upstream)

def accept(listener):
    while True:
        threading.Thread(target=answer_late, args=(listener.accept()[0],), daemon=True).start()

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()

def call(**options):
    settings = [(f"grpc.{name}", value) for name, value in options.items()]
    with grpc.insecure_channel(f"127.0.0.1:{listener.getsockname()[1]}", settings) as channel:
        try:
            channel.unary_unary("/a.Service/Call")(b"", wait_for_ready=True, timeout=5)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

short = {"initial_reconnect_backoff_ms": 100, "min_reconnect_backoff_ms": 100, "max_reconnect_backoff_ms": 100}
print(call(), call(**short), sep=", ")
PROGRAM
)
expected="OK, DEADLINE_EXCEEDED"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
