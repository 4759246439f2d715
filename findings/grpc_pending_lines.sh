#!/usr/bin/env bash
# gRPC's bound on the calls that a server has not taken yet holds for each method that generated code
# registers, and what is beyond it ends as CANCELLED.
#
# Version: grpcio 1.85.3, grpc.aio.
# Guess: `grpc.server.max_pending_requests`, an option of the server, bounds the calls of the server,
#     and those beyond it end as RESOURCE_EXHAUSTED, as with `maximum_concurrent_rpcs`.
# Behaviour: `add_..._to_server` registers each method, and each has a line with that bound for
#     itself; methods of generic handlers alone share one line. A call that comes to a full line ends
#     as CANCELLED, with no text that says why.
# Output seen: with a bound of 5, while the loop stands still, 20 calls of A and then 20 of B: of
#     those that are generic 7 of A are answered (the one that the loop had asked for, and 6 that
#     waited) and none of B; of those that are registered 7 of each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 100 python3 - <<'PROGRAM'
import asyncio, threading, time
from collections import Counter
import grpc

OPTIONS = [(f"grpc.server.max_pending_requests{kind}", 5) for kind in ("", "_hard_limit")]


async def answer(request, context):
    return b""


def client(port, stands_still, ended):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        methods = {name: channel.unary_unary(f"/a.Service/{name}") for name in "AB"}
        methods["A"](b"", wait_for_ready=True)
        stands_still.set()
        time.sleep(0.5)
        calls = [(name, methods[name].future(b"")) for name in "A" * 20 + "B" * 20]
        ended.update(f"{name} {call.code().name}" for name, call in calls)


async def main(is_registered):
    server = grpc.aio.server(options=OPTIONS)
    handlers = dict.fromkeys("AB", grpc.unary_unary_rpc_method_handler(answer))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    if is_registered:
        server.add_registered_method_handlers("a.Service", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stands_still, ended = threading.Event(), Counter()
    calls = asyncio.create_task(asyncio.to_thread(client, port, stands_still, ended))
    while not stands_still.is_set():
        await asyncio.sleep(0.01)
    time.sleep(3)
    await calls
    await server.stop(0)
    return ", ".join(f"{count} {what}" for what, count in sorted(ended.items()))


print("generic:", asyncio.run(main(False)))
print("registered:", asyncio.run(main(True)))
PROGRAM
)
expected="generic: 13 A CANCELLED, 7 A OK, 20 B CANCELLED
registered: 13 A CANCELLED, 7 A OK, 13 B CANCELLED, 7 B OK"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
