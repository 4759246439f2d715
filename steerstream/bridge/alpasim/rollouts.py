"""The rollouts of a simulator, each with a session of its own."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Mapping

from steerstream.blocking import Client
from steerstream.bridge.alpasim.planner import Optics, Planner
from steerstream.bridge.options import session_arguments
from steerstream.command_line import write_result
from steerstream.drive import report
from steerstream.drive.tally import Tally
from steerstream.errors import BadRequest
from steerstream.models import FramePolicy


class Rollouts:
    """Opens a session for each rollout and reports it at its end; any thread may call it.

    Args:
        client: a connected client.
        options: those of the command.
    """

    def __init__(self, client: Client, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options
        self._running: dict[str, tuple[Planner, str, float]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, cameras: Mapping[str, Optics]) -> None:
        """Open the session of a rollout.

        Args:
            name: of the rollout, given by the simulator.
            cameras: by their logical ids.

        Raises:
            SteerstreamError: there is no such camera, or the server opens no session.
        """
        camera = self._chosen(cameras)
        arguments = session_arguments(self._options)
        arguments["vehicle_id"] = f"{arguments['vehicle_id']}-{name[:36]}"
        session = self._client.open_session(
            **arguments,
            frame_policy=FramePolicy.EVERY,
            camera=cameras[camera].describe(),
            live=False,
        )
        tally = Tally(self._options.budget_ms)
        planner = Planner(session, tally, delay_ms=self._options.delay_ms)
        with self._lock:
            self._running[name] = (planner, camera, time.monotonic())

    def planner(self, name: str) -> tuple[Planner, str]:
        """Return a rollout's planner and the camera that it drives by."""
        with self._lock:
            planner, camera, _ = self._running[name]
        return planner, camera

    def end(self, name: str) -> None:
        """Close the session of a rollout and print what came of it."""
        with self._lock:
            planner, _, began_s = self._running.pop(name)
        tally, session = planner.tally, planner.session
        tally.sent_bytes = session.sent_bytes
        session.close()
        if not tally.frames:
            return
        elapsed_s = time.monotonic() - began_s
        print(report.as_table(tally, session.info, elapsed_s=elapsed_s), flush=True)
        if self._options.json:
            result = report.as_json(tally, session.info, source="alpasim", elapsed_s=elapsed_s)
            write_result(self._options.json, result)

    def _chosen(self, cameras: Mapping[str, Optics]) -> str:
        wanted: str | None = self._options.camera
        if not cameras or (wanted is not None and wanted not in cameras):
            known = ", ".join(cameras) or "none"
            raise BadRequest(f"no camera {wanted or ''!r}; the simulator declares: {known}")
        return wanted or next((name for name in cameras if "front" in name), next(iter(cameras)))
