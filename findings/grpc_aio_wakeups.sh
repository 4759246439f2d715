#!/usr/bin/env bash
# grpc.aio wakes the event loop once for each event, also when one wake-up has handled all of them.
#
# Version: grpcio 1.85.3, grpc.aio.
# Guess: after a pause of the event loop one wake-up handles what came in the meantime, and the loop
#     is free again.
# Behaviour: gRPC's poller thread writes a byte into a socket for each event, and the loop's reader
#     takes one byte a pass but all events that are there. Each further byte is a pass that finds
#     nothing. A server that makes fewer passes than events come fills that socket, with 278 bytes on
#     Linux; then the poller thread waits, one event a pass comes through, and messages are read
#     seconds after they came, on a processor that seems well used.
# Output seen: 50 streams send a message each while the loop stands still: 50 bytes wait, all 50
#     messages are there after two wake-ups, and 50 wake-ups are made.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import asyncio, socket, threading, time
import grpc

STREAMS = 50
ready, received, ended, waiting = [], [], [], None


class Loop(asyncio.SelectorEventLoop):
    def add_reader(self, fd, callback, *args):
        owner = getattr(getattr(callback, "func", callback), "__self__", None)
        if type(owner).__name__ != "PollerCompletionQueue":
            return super().add_reader(fd, callback, *args)

        def count():
            if waiting is not None:
                waiting.append(len(fd.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)))
            callback(*args)

        return super().add_reader(fd, count)


async def drive(request, context):
    await context.read()
    ready.append(True)
    await context.read()
    received.append(len(waiting))
    await context.read()
    ended.append(True)


def client(port, go, done):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        def messages():
            yield b""
            go.wait()
            yield b""
            done.wait()
        calls = [channel.stream_stream("/a.Service/Drive")(messages()) for _ in range(STREAMS)]
        done.wait()
        for call in calls:
            list(call)


async def main():
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(drive)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Drive": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    go, done = threading.Event(), threading.Event()
    threading.Thread(target=client, args=(port, go, done), daemon=True).start()
    while len(ready) < STREAMS:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    global waiting
    waiting = []
    go.set()
    time.sleep(1)  # The loop stands still, as in a step of a network.
    while len(received) < STREAMS or waiting[-1] > 1:
        await asyncio.sleep(0.01)
    early = sum(at <= 2 for at in received)
    print(f"{waiting[0]} bytes, {early} messages after two wake-ups of {len(waiting)}")
    done.set()
    while len(ended) < STREAMS:
        await asyncio.sleep(0.01)
    await server.stop(1)


with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())
PROGRAM
)
expected="50 bytes, 50 messages after two wake-ups of 50"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
