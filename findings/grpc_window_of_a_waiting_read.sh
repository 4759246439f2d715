#!/usr/bin/env bash
# A read that waits on a gRPC server does not open the window of its stream for a large message.
#
# Version: grpcio 1.85.3, grpc.aio, without probes of the link's bandwidth.
# Guess: a server whose handler already waits in `read` has nothing to protect: its stream's window
#     lets a whole message come, up to the largest that the server accepts.
# Behaviour: the client sends as much as the window had at first (`grpc.http2.lookahead_bytes`) and
#     stops. Only when the message's head has come does the server tell the client to send the rest,
#     so that each message larger than the window takes a round trip more than a smaller one, however
#     long its reader has waited. A frame of 200 kB took 47 ms in place of 26 over a link of 20 ms.
# Output seen: of 400 kB, 131 kB come while the way back is held up; the rest when it is not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import asyncio, contextlib, threading
import grpc

OPTIONS = [("grpc.http2.lookahead_bytes", 131_072), ("grpc.http2.bdp_probe", 0)]
waits, got, up = asyncio.Event(), asyncio.Event(), 0
may_go_back = asyncio.Event()


async def drive(request, context):
    await context.read()
    waits.set()  # The next read begins before anything else runs.
    assert len(await context.read()) == 400_000
    got.set()


async def relay(port, reader, writer):
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def there():
        global up
        while data := await reader.read(65_536):
            up += len(data)
            far_writer.write(data)
            await far_writer.drain()

    async def back():
        while data := await far_reader.read(65_536):
            await may_go_back.wait()
            writer.write(data)
            await writer.drain()

    with contextlib.suppress(asyncio.CancelledError):  # At the end of all.
        await asyncio.gather(there(), back(), return_exceptions=True)


def client(port, go, done):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        def messages():
            yield b"small"
            go.wait()
            yield bytes(400_000)
            done.wait()
        call = channel.stream_stream("/a.Service/Drive")(messages())
        done.wait()
        call.cancel()


async def settled():
    before = -1
    while before != up:
        before = up
        await asyncio.sleep(1)
    return up


async def main():
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(drive)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Drive": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    between = await asyncio.start_server(lambda *ends: relay(port, *ends), "127.0.0.1", 0)
    may_go_back.set()
    go, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=client, args=(between.sockets[0].getsockname()[1], go, done))
    thread.start()
    await waits.wait()
    before = await settled()
    may_go_back.clear()
    go.set()
    held = await settled() - before
    may_go_back.set()
    await got.wait()
    print(f"{held // 1000} kB, then all")
    done.set()
    await asyncio.to_thread(thread.join)
    await server.stop(0)


asyncio.run(main())
PROGRAM
)
expected="131 kB, then all"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
