#!/usr/bin/env bash
# Closing a channel of grpc.aio cancels, as it seems, the tasks that wait for its calls.
#
# Version: grpcio 1.85.3.
# Guess: a task that waits for a call gets an `AioRpcError` with the status CANCELLED when another
#     task closes the channel.
# Behaviour: it gets an `asyncio.CancelledError`, though nobody cancelled it: `Task.cancelling()`
#     is 0. A task group takes such a task for one that ended quietly.
# Output seen: `CancelledError 0`, and the task group raises nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import asyncio
import grpc

called = asyncio.Event()

async def never(request, context):
    called.set()
    await asyncio.Event().wait()

async def call(channel):
    try:
        await channel.unary_unary("/a.Service/Call")(b"")
    except BaseException as error:
        print(type(error).__name__, asyncio.current_task().cancelling())
        raise

async def main():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(never)
    methods = grpc.method_handlers_generic_handler("a.Service", {"Call": handler})
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel))
        await called.wait()
        await channel.close()
    print("the group raised nothing")
    await server.stop(0)

asyncio.run(main())
PROGRAM
)
expected="CancelledError 0
the group raised nothing"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
