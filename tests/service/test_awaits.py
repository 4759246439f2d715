"""No await without a time limit: each has one, or a reason that it needs none.

An await is left out that calls a coroutine of the service itself, whose awaits are looked at where
they stand, that stands in `asyncio.timeout`, or that is `asyncio.sleep`.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "service/steerstream_service"

_START = "start_timeout_s, by the start guard"
_ABORT = "the connection is hung up on after STATUS_S; the session holds nothing by then"
_INNER = "what it waits for has its own limit, or is the client's stream"
_CHILD = "a process that was told to end, and is killed after drain_s"
LIMITS = {
    "admission/admission.py Admission.map_camera: asyncio.shield": "two ms of computing",
    "admission/fair_queue.py FairQueue.take: turn": "_MOST_MAPPINGS turns, of two ms",
    "engine/loop_engine.py LoopEngine.start: asyncio.to_thread": _START,
    "engine/thread_engine.py ThreadEngine.start: warm": _START,
    "engine/thread_engine.py ThreadEngine.stop: asyncio.to_thread": "joins for _STOP_S",
    "process/allocator.py keep_trimmed: asyncio.to_thread": "no await of another",
    "process/open_calls.py OpenCalls.ended: asyncio.wait": "its timeout_s",
    "process/open_calls.py OpenCalls.intercept_service: continuation": "waits for nobody",
    "process/server.py Server._start_admin: self._admin.start": _START,
    "process/server.py Server._set_health: self._health.set": "waits for nobody",
    "process/server.py Server.shutdown: asyncio.to_thread": "the recorder's _CLOSE_S",
    "process/server.py Server.shutdown: self._health.enter_graceful_shutdown": "waits for nobody",
    "process/server.py Server.shutdown: server.stop": "_STOP_S, then gRPC cancels the calls",
    "process/server.py Server.startup: self._server.start": _START,
    "process/server.py Server.stopped: self._stop.wait": "the server's life",
    "process/supervisor.py Supervisor._end: asyncio.gather": _CHILD,
    "process/supervisor.py Supervisor._hurry_workers: self._hurrying.wait": "its life",
    "process/supervisor.py Supervisor._keep_all: async with asyncio.TaskGroup()": "its life",
    "process/supervisor.py Supervisor._ready: worker.process.wait": _CHILD,
    "process/supervisor.py Supervisor.run: asyncio.gather": "of cancelled tasks",
    "process/supervisor.py Supervisor.run: asyncio.wait": "its life",
    "process/supervisor.py _Worker.end: self.process.wait": _CHILD,
    "process/supervisor.py _Worker.ended: self.process.wait": "killed when its event loop is stuck",
    "process/supervisor.py _Worker.spawn: asyncio.create_subprocess_exec": "waits for nobody",
    "process/worker.py run: async with contextlib.AsyncExitStack()": "ends what is listed here",
    "process/worker_pipe.py WorkerPipe._heard: self._reader.readline": "the other process's life",
    "process/worker_pipe.py WorkerPipe._obey: serve": "waits for nobody",
    "process/worker_pipe.py WorkerPipe._say: self._writer.drain": "lines of a few bytes",
    "process/worker_pipe.py WorkerPipe.over: asyncio.open_unix_connection": "connected already",
    "telemetry/setup.py Telemetry.stop: asyncio.to_thread": "a second for spans; one scrape",
    "transport/access.py AccessControl.intercept_service: continuation": "waits for nobody",
    "transport/access.py _checked.call: behaviour": _INNER,
    "transport/access.py _checked.generate: anext": _INNER,
    "transport/access.py _ending: async with asyncio.timeout_at(end_s)": "is the limit",
    "transport/call_bounds.py CallBounds._bounded.counted: "
    "async for behaviour(_paced(requests, bound, context), context)": _INNER,
    "transport/call_bounds.py CallBounds._request: context.read": "REQUEST_S, by its caller",
    "transport/call_bounds.py CallBounds._with_one_request.call: behaviour": _INNER,
    "transport/call_bounds.py CallBounds._with_one_request.call: context.abort": _ABORT,
    "transport/call_bounds.py CallBounds.intercept_service: continuation": "waits for nobody",
    "transport/call_bounds.py _abort_no_message: context.abort": _ABORT,
    "transport/call_bounds.py _keep_pace: bound.refuse": _ABORT,
    "transport/call_bounds.py _paced: async for requests": "64 streams of reflection at most",
    "transport/call_bounds.py _refuse_fast: context.abort": _ABORT,
    "transport/call_bounds.py refuse: context.abort": _ABORT,
    "transport/handlers.py within.call: async with surroundings(context)": "its waits are above",
    "transport/handlers.py within.call: behaviour": _INNER,
    "transport/handlers.py within.generate: async for behaviour(request, context)": _INNER,
    "transport/handlers.py within.generate: async with surroundings(context)": "the same",
    "transport/intake.py Intake.turn: turn": "_LONGEST_DEBT_NS, and a turn of each other stream",
    "transport/intake.py Reader._in_turn: self._context.read": "ends with the session",
    "transport/intake.py Reader.opening: self._context.read": "open_timeout_s, by its caller",
    "transport/intake.py Reader.read: self._context.read": "ends with the session",
    "transport/models_service.py _typed_errors: context.abort": _ABORT,
    "transport/servicer.py DriveService._until_drained: asyncio.wait": "drain_s",
    "transport/statuses.py abort: context.abort": _ABORT,
    "transport/stream.py _Flag.wait: self._waiter": "whoever waits for it",
    "transport/stream.py DriveStream._flush: self._context.write": "idle_timeout_s, by _patience",
    "transport/stream.py DriveStream._read: self._reader.read": "listed above, as Reader.read",
    "transport/stream.py DriveStream._read: self._room.wait": "ends with the session",
    "transport/stream.py DriveStream._serve: self._context.send_initial_metadata": "as _flush",
    "transport/stream.py DriveStream._serve: self._wake.wait": "idle_timeout_s, by the idle timer",
    "transport/watch_service.py WatchService.WatchSession: context.abort": _ABORT,
    "transport/watch_service.py WatchService._snapshot: async with self._lock": "one snapshot",
    "transport/watch_service.py WatchService._write_picture: asyncio.to_thread": "one picture",
    "transport/watch_service.py WatchService._write_picture: async with self._decoding": "the same",
}


_OTHERS_TOO = {"abort", "drain", "read", "refuse", "start", "stop", "wait"}
"""Names of the service's coroutines that methods of other objects have too."""
_OURS = {"", "self", "self._engine", "self._service"}


class Awaits(ast.NodeVisitor):
    """Finds the awaits of a module that need a reason."""

    def __init__(self, own: set[str]) -> None:
        self._own = own
        self._names: list[str] = []
        self._is_timed = False
        self.found: list[str] = []

    def _visit_named(self, node: ast.AST) -> None:
        was, self._is_timed = self._is_timed, False
        self._names.append(node.name)  # type: ignore[attr-defined]
        self.generic_visit(node)
        self._names.pop()
        self._is_timed = was

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _visit_named  # noqa: N815

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        texts = [ast.unparse(item.context_expr) for item in node.items]
        was = self._is_timed
        for text in texts:
            self._is_timed |= text.startswith("asyncio.timeout(")
        for item, text in zip(node.items, texts, strict=True):
            if not text.startswith("asyncio.timeout(") and not self._is_own(item.context_expr):
                self._add(f"async with {text}")
        self.generic_visit(node)
        self._is_timed = was

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._add(f"async for {ast.unparse(node.iter)}")
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        called = node.value.func if isinstance(node.value, ast.Call) else node.value
        text = ast.unparse(called)
        if text != "asyncio.sleep" and not self._is_own(node.value):
            self._add(text)
        self.generic_visit(node)

    def _is_own(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        whose, _, name = ast.unparse(node.func).rpartition(".")
        return name in self._own and (name not in _OTHERS_TOO or whose in _OURS)

    def _add(self, text: str) -> None:
        if not self._is_timed:
            self.found.append(f"{'.'.join(self._names)}: {text}")


def awaits() -> Counter[str]:
    trees = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
    own = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
    }
    found: Counter[str] = Counter()
    for path, tree in trees.items():
        looked = Awaits(own)
        looked.visit(tree)
        found.update(f"{path.relative_to(ROOT)} {text}" for text in looked.found)
    return found


def test_every_await_has_a_time_limit_or_a_reason():
    assert set(awaits()) == set(LIMITS)


def test_an_await_without_a_limit_is_found():
    source = (
        "async def own(): pass\n"
        "class A:\n"
        "    async def f(self):\n"
        "        await own()\n"
        "        await asyncio.sleep(1)\n"
        "        await self.thing.wait()\n"
        "        async with asyncio.timeout(1), lock:\n"
        "            await self.thing.wait()\n"
        "        async with lock:\n"
        "            async for each in stream: pass\n"
    )
    looked = Awaits({"own", "f"})
    looked.visit(ast.parse(source))
    assert looked.found == [
        "A.f: self.thing.wait",
        "A.f: async with lock",
        "A.f: async for stream",
    ]
