"""Recordings out of logs of messages: which topic is the camera, and which the steering."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from steerstream.answers import ControlValues
from steerstream.errors import MediaError
from steerstream.sources import messages
from steerstream.sources.labels import usual_period_ns
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import Picture
from steerstream.sources.recording import DEFAULT_RATE_HZ, RecordedFrame, Recording
from steerstream.sources.video_messages import VideoDecoder

_FLIGHT_RECORDING = "steerstream.v1.RecordedSession"
"""The type that every recording of the flight recorder has, and no other."""


class MessageLog(Protocol):
    """A log of messages."""

    name: str

    @property
    def topics(self) -> Mapping[str, str]:
        """The type of each topic's messages, as ROS 1 and Foxglove name them."""
        ...

    def read(self, topics: Collection[str]) -> Iterator[tuple[str, int, Callable[[], Any]]]:
        """Yield messages as topic, time of their recording in nanoseconds, and decoder."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    log: MessageLog
    camera: str
    reports: messages.Reports
    by_stamp: bool
    options: ReadOptions


def open_log(log: MessageLog, options: ReadOptions) -> Recording:
    """Return the pictures of a log, each with what was reported at its time.

    Args:
        log: the messages.
        options: the camera is a topic; the steering `topic:field`, for reports that are no
            `SteeringReport` with a `steering_wheel_angle`.

    Raises:
        MediaError: there is no camera, or there are several, or a message cannot be read.
        MissingExtra: a package that decodes the messages is not installed.
    """
    camera = _camera(log, options.camera)
    topic, field = _steering(log, options.steering)
    times: list[int] = []
    reports: list[tuple[int, int, ControlValues]] = []
    stamps = [0, 0]
    for name, time_ns, decode in log.read([camera, topic] if topic else [camera]):
        if name == camera:
            if not times:
                stamps[0] = messages.stamp_ns(decode())
            times.append(time_ns)
        else:
            try:
                message = decode()
                stamps[1] = messages.stamp_ns(message)
            except MediaError as error:
                options.bad_rows.found(f"{log.name}, {name}", "a message is damaged", str(error))
                continue
            if (values := messages.steering_of(message, field)) is not None:
                reports.append((time_ns, stamps[1], _in_units(values, field, options)))
    if not times:
        raise MediaError(f"{log.name}: has no message of {camera}")
    by_stamp = bool(stamps[0]) and (not reports or bool(stamps[1]))
    known = messages.Reports(
        (stamp_ns if by_stamp else time_ns, values) for time_ns, stamp_ns, values in reports
    )
    plan = _Plan(log, camera, known, by_stamp, options)
    return Recording(
        name=log.name,
        read=functools.partial(_frames, plan),
        period_ns=usual_period_ns(times) or 1e9 / DEFAULT_RATE_HZ,
        count=len(times),
        assumed=(
            *_assumed(topic, by_stamp=by_stamp, labelled=bool(reports)),
            *_warnings(log.topics),
        ),
    )


def _assumed(topic: str, *, by_stamp: bool, labelled: bool) -> tuple[str, ...]:
    said = []
    if not by_stamp:
        said.append("not all messages have stamps: the times of their recording are taken")
    if not labelled:
        where = f"{topic} tells no steering_wheel_angle" if topic else "no topic reports steering"
        said.append(f"{where}; see --steering")
    return tuple(said)


def _warnings(topics: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is to be said of a flight recording, whose pictures are those that were sent."""
    if _FLIGHT_RECORDING not in topics.values():
        return ()
    said = (
        "a flight recording holds the pictures as they were sent, by default only the part that"
        " the network saw, and driven again they are cut once more; `steerstream replay` steps"
        " them as they were"
    )
    return (said,)


def _camera(log: MessageLog, wanted: str) -> str:
    found = [name for name, kind in log.topics.items() if kind in messages.PICTURES]
    chosen = [name for name in found if wanted in ("", name)]
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        has = ", ".join(f"{name} ({kind})" for name, kind in log.topics.items()) or "nothing"
        raise MediaError(f"{log.name}: has no topic of pictures; it has: {has}")
    raise MediaError(f"{log.name}: give one of its topics as --camera: {', '.join(found)}")


def _steering(log: MessageLog, wanted: str) -> tuple[str, str]:
    """Return the topic and field of the steering; an empty topic for none."""
    if wanted:
        topic, _, field = wanted.rpartition(":")
        if topic not in log.topics or not field:
            has = ", ".join(log.topics) or "nothing"
            raise MediaError(
                f"{log.name}: --steering must be topic:field, not {wanted!r}; it has: {has}"
            )
        return topic, field
    found = [name for name, kind in log.topics.items() if messages.reports_steering(kind)]
    if len(found) > 1:
        raise MediaError(f"{log.name}: give one of these as --steering: {', '.join(found)}")
    return (found[0], "") if found else ("", "")


def _in_units(values: ControlValues, field: str, options: ReadOptions) -> ControlValues:
    """Return the values with a steering wheel angle; a field that was named may be -1 to 1."""
    angle = values.steering_wheel_angle_rad
    if angle is None:
        return values
    normalised = bool(field) and options.max_angle_rad is not None
    angle_rad = options.normalised(angle) if normalised else options.wheel_rad(angle)
    return dataclasses.replace(values, steering_wheel_angle_rad=angle_rad)


def _frames(plan: _Plan) -> Iterator[RecordedFrame]:
    decoder = None
    if plan.log.topics[plan.camera] in messages.VIDEO:
        decoder = VideoDecoder()
    for index, (_, time_ns, decode) in enumerate(plan.log.read([plan.camera])):
        place = f"{plan.log.name}, picture {index + 1} of {plan.camera}"
        try:
            message = decode()
            picture = decoder.picture(message, place) if decoder else None
            moment_ns = messages.stamp_ns(message) if plan.by_stamp else time_ns
        except MediaError as error:
            plan.options.bad_rows.found(place, "a message cannot be read", str(error))
            continue
        if decoder and picture is None:
            continue
        load: Callable[[], Picture] = functools.partial(messages.picture_of, message, place)
        if picture is not None:
            load = functools.partial(_same, picture)
        yield RecordedFrame(load, moment_ns, plan.reports.at(moment_ns), place=place)


def _same(picture: Picture) -> Picture:
    return picture
