"""What the measurements of a link mean: one line for each thing that was looked at, and advice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from steerstream.link.times import LinkTimes
from steerstream.models import View, ViewEncoding

_JITTER_SHARE = 0.2
"""Of a frame's budget; more jitter than this makes frames miss it that the median does not."""
_LARGE_MS_PER_SMALL = 2.0
_SLOWER_AFTER_PAUSE = 1.5
_NOTABLE_MS = 2.0
"""Differences below this are the noise of two processes and change no drive."""
_CLOCK_STEP_MS = 5.0
_ENCODINGS = {ViewEncoding.JPEG_444: "JPEG", ViewEncoding.RGB8: "raw pixels"}
_PROXY_HEADERS = ("via", "server", "x-envoy-upstream-service-time", "x-served-by")


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """All that `doctor` measures of a link.

    Attributes:
        connect_ms: from nothing to a connection that calls can be made on, TLS included.
        is_encrypted: whether it is TLS.
        is_local: whether the server is on this machine.
        headers: metadata that the answer to a call began with, by lower-case key.
        view: what the server wants to see of every picture; None where it takes whole ones alone.
        small: frames of a few kilobytes, as with the view.
        large: frames of a whole picture.
        after_pause_ms: the link's time of the first large frame after a pause.
        clock_step_ms: by how much the wall clock went otherwise than the monotonic one.
        budget_ms: the longest round trip that is in time.
        rate_hz: frames a second.
    """

    connect_ms: float
    is_encrypted: bool
    is_local: bool
    headers: Mapping[str, str]
    view: View | None
    small: LinkTimes
    large: LinkTimes
    after_pause_ms: float
    clock_step_ms: float
    budget_ms: float
    rate_hz: float


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        subject: what it is, in a word or two.
        finding: what was measured, with units.
        advice: what to change; empty where it is well.
    """

    subject: str
    finding: str
    advice: str = ""


def diagnose(measured: Measured) -> list[Diagnosis]:
    """Return what the measurements mean, in the order in which a frame meets the causes."""
    return [
        _connection(measured),
        _proxy(measured),
        _round_trip(measured),
        _jitter(measured),
        _view(measured),
        _bytes(measured),
        _pause(measured),
        _clock(measured),
    ]


def _connection(measured: Measured) -> Diagnosis:
    kind = "TLS" if measured.is_encrypted else "plain text"
    advice = ""
    if not (measured.is_encrypted or measured.is_local):
        advice = "anybody on the way can read and change frames and commands: use TLS"
    return Diagnosis("connection", f"{kind}, {measured.connect_ms:.1f} ms to connect", advice)


def _proxy(measured: Measured) -> Diagnosis:
    found = [f"{key}: {measured.headers[key]}" for key in _PROXY_HEADERS if key in measured.headers]
    if not found:
        return Diagnosis("proxy", "none that names itself")
    return Diagnosis(
        "proxy",
        ", ".join(found),
        "see that its limits on body, silence and streams are those of deploy/README.md",
    )


def _round_trip(measured: Measured) -> Diagnosis:
    times = measured.small
    missed = times.frames - times.in_budget
    finding = (
        f"p50 {times.round_trip.percentile_ms(50):.1f} ms, "
        f"p99 {times.round_trip.percentile_ms(99):.1f} ms, of which the link's "
        f"{times.link.percentile_ms(50):.1f} and {times.link.percentile_ms(99):.1f}; "
        f"{missed} of {times.frames} frames missed {measured.budget_ms:g} ms"
    )
    if not missed:
        return Diagnosis("round trip", finding)
    link_ms, server_ms = times.link.percentile_ms(99), times.server.percentile_ms(99)
    where = "the link" if link_ms > server_ms else "the server"
    return Diagnosis(
        "round trip", finding, f"most of the time goes to {where}: look there, or ask for a budget"
        " that it can keep",
    )  # fmt: skip


def _jitter(measured: Measured) -> Diagnosis:
    jitter_ms = measured.small.jitter_ms
    most_ms = max(_NOTABLE_MS, _JITTER_SHARE * measured.budget_ms)
    advice = ""
    if jitter_ms > most_ms:
        advice = (
            "no network is between, so other programs take the cores: end them, or move the server"
            if measured.is_local
            else "switch power saving of the radio or network card off; keep bulk traffic apart"
        )
    return Diagnosis("jitter", f"{jitter_ms:.1f} ms between p50 and p99 of the link", advice)


def _view(measured: Measured) -> Diagnosis:
    view = measured.view
    if view is None:
        return Diagnosis(
            "view", "the server declares none, so whole pictures travel", "ask for a newer server"
        )
    encodings = " or ".join(_ENCODINGS[encoding] for encoding in view.encodings)
    size = f"{view.width_px}x{view.height_px} as {encodings}"
    rows = f"rows {view.crop.top:.0%} to {view.crop.bottom:.0%} of a picture"
    return Diagnosis("view", f"the server asks for {size}, of {rows}")


def _bytes(measured: Measured) -> Diagnosis:
    small, large = measured.small, measured.large
    small_ms, large_ms = small.link.percentile_ms(50), large.link.percentile_ms(50)
    kilobytes = large.bytes_per_frame / 1000
    finding = (
        f"{kilobytes:.0f} kB a frame, {kilobytes * measured.rate_hz:.0f} kB/s: "
        f"{large_ms:.1f} ms on the link, for {small_ms:.1f} with "
        f"{small.bytes_per_frame / 1000:.0f} kB"
    )
    advice = ""
    if large_ms > _LARGE_MS_PER_SMALL * small_ms and large_ms - small_ms > _NOTABLE_MS:
        advice = (
            "send fewer bytes (the view, a lower JPEG quality); behind a proxy, raise its window "
            "of HTTP/2 above a frame's size (http2_body_preread_size, initial-window-size)"
        )
    return Diagnosis("bytes", finding, advice)


def _pause(measured: Measured) -> Diagnosis:
    usual_ms, first_ms = measured.large.link.percentile_ms(50), measured.after_pause_ms
    advice = ""
    if first_ms > _SLOWER_AFTER_PAUSE * usual_ms and first_ms - usual_ms > _NOTABLE_MS:
        advice = "TCP starts slowly after a pause: sysctl net.ipv4.tcp_slow_start_after_idle=0"
    return Diagnosis(
        "pause", f"first frame after one {first_ms:.1f} ms, for {usual_ms:.1f} ms usually", advice
    )


def _clock(measured: Measured) -> Diagnosis:
    advice = ""
    if abs(measured.clock_step_ms) > _CLOCK_STEP_MS:
        advice = "let chrony or ptp4l slew the clock; take capture times from the monotonic clock"
    # Adding zero takes the sign off a rounded -0.0.
    step_ms = round(measured.clock_step_ms, 1) + 0.0
    return Diagnosis("clock", f"the wall clock went {step_ms:+.1f} ms off meanwhile", advice)
