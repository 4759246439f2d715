"""The ROS 2 node with real messages, and with a graph that stands in for ROS itself."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
import types
from pathlib import Path

import pytest

from steerstream import Action, BadRequest, SessionTakenOver
from steerstream.testing import FakeServer, Reply, Skip
from tests.examples import ros2
from tests.steerstream.command_lines import served

PATH = Path(__file__).resolve().parents[2] / "examples" / "ros2_node.py"
JPEG = b"\xff\xd8 a picture"
PATIENCE_S = 30.0
NOW_NS = 1_700_000_000_123_456_789


@pytest.fixture
def example(monkeypatch):
    ros2.install(monkeypatch)
    spec = importlib.util.spec_from_file_location("ros2_node", PATH)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def running(example, monkeypatch, fake, **parameters):
    with served(fake) as target:
        monkeypatch.setattr(ros2.Node, "overrides", {"target": target, **parameters})
        with example.DriveNode() as node:
            node.clock.nanoseconds = NOW_NS
            yield node
    assert node.is_destroyed


def show(node, *, time_ns=NOW_NS, **fields):
    kind, callback, _ = node.subscriptions["image"]
    sent = ros2.image(JPEG, time_ns=time_ns, **fields)
    assert isinstance(sent, kind)
    callback(sent)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def frames(fake):
    return [request.frame for request in fake.received if request.HasField("frame")]


def tick(node):
    """Let the timer run once, and return what was published since."""
    published = node.publishers["ackermann_cmd"].published
    before = len(published)
    node.timers[0][1]()
    return published[before:]


def test_a_picture_becomes_an_ackermann_command(example, monkeypatch):
    fake = FakeServer([Reply(0.74, 7.5)])
    with running(example, monkeypatch, fake) as node:
        assert tick(node) == []
        show(node)
        wait_until(lambda: node._session.safe_command().action is Action.FOLLOW)
        (command,) = tick(node)
    assert command.drive.steering_angle == pytest.approx(0.74 / 14.8)
    assert command.drive.speed == 7.5
    assert (command.header.frame_id, command.header.stamp) == ("base_link", ros2.stamp(NOW_NS))
    assert frames(fake)[0].jpeg == JPEG


def test_while_the_guard_says_release_nothing_is_published(example, monkeypatch):
    with running(example, monkeypatch, FakeServer([Skip()])) as node:
        show(node)
        wait_until(lambda: node._session.frames_in_flight == 0 and node._newest is None)
        assert tick(node) == []


def test_what_the_guard_says_is_logged_when_it_changes(example, monkeypatch):
    with running(example, monkeypatch, FakeServer([Reply(0.1)])) as node:
        show(node)
        wait_until(lambda: node._session.safe_command().action is Action.FOLLOW)
        tick(node)
        tick(node)
        lines = node.logger.lines
    assert [line.split()[0] for line in lines] == ["FOLLOW"]


def test_the_stamp_of_a_picture_is_when_it_was_taken(example, monkeypatch):
    fake = FakeServer()
    with running(example, monkeypatch, fake) as node:
        show(node, time_ns=NOW_NS - 30_000_000)
        wait_until(lambda: len(frames(fake)) == 1)
        # The machine's wall clock is set back by an hour, and the camera's with it.
        node.clock.nanoseconds -= 3_600_000_000_000
        show(node, time_ns=node.clock.nanoseconds - 10_000_000)
        wait_until(lambda: len(frames(fake)) == 2)
        now_ns = time.monotonic_ns()
    first, second = (frame.capture_time_ns for frame in frames(fake))
    assert first < second < now_ns - 10_000_000
    assert node.logger.lines == []


def test_simulated_time_is_sent_as_it_is(example, monkeypatch):
    fake = FakeServer()
    monkeypatch.setattr(ros2.Node, "use_sim_time", True)
    with running(example, monkeypatch, fake) as node:
        for time_ns in (5_000_000_000, 5_050_000_000):
            show(node, time_ns=time_ns)
            wait_until(lambda: node._newest is None and node._session.frames_in_flight == 0)
        wait_until(lambda: len(frames(fake)) == 2)
    assert [frame.capture_time_ns for frame in frames(fake)] == [5_000_000_000, 5_050_000_000]


def test_of_pictures_that_wait_the_newest_is_sent(example, monkeypatch):
    sent, entered, gate = [], threading.Event(), threading.Event()

    def send_frame(picture, **options):
        sent.append(picture)
        entered.set()
        gate.wait(PATIENCE_S)

    with running(example, monkeypatch, FakeServer()) as node:
        node._session = types.SimpleNamespace(send_frame=send_frame)
        for number in range(4):
            node.subscriptions["image"][1](ros2.image(b"%d" % number, time_ns=NOW_NS + number))
            assert entered.wait(PATIENCE_S)
        gate.set()
        wait_until(lambda: len(sent) == 2)
    assert sent == [b"0", b"3"]


def test_the_vehicles_speed_goes_with_the_picture(example, monkeypatch):
    fake = FakeServer()
    with running(example, monkeypatch, fake) as node:
        kind, callback, _ = node.subscriptions["odom"]
        assert kind is ros2.TYPES.types["nav_msgs/msg/Odometry"]
        speed = types.SimpleNamespace(
            twist=types.SimpleNamespace(linear=types.SimpleNamespace(x=6))
        )
        callback(types.SimpleNamespace(twist=speed))
        show(node)
        wait_until(lambda: len(frames(fake)) == 1)
    assert frames(fake)[0].vehicle_speed_mps == 6.0


def test_a_network_without_a_speed_gets_the_stated_one(example, monkeypatch):
    fake = FakeServer([Reply(0.1, None)])
    with running(example, monkeypatch, fake, speed_without_head_mps=3.0) as node:
        show(node)
        wait_until(lambda: node._session.safe_command().action is Action.FOLLOW)
        assert tick(node)[0].drive.speed == 3.0


def test_pictures_of_another_kind_are_refused_by_name(example, monkeypatch):
    fake = FakeServer()
    with running(example, monkeypatch, fake) as node:
        show(node, format="rgb8; png compressed bgr8")
        assert node._newest is None
        assert "png compressed" in node.logger.lines[0]
        show(node, format="rgb8; jpeg compressed bgr8")
        wait_until(lambda: len(frames(fake)) == 1)


def test_a_picture_that_cannot_be_sent_is_logged_and_the_next_is_sent(example, monkeypatch):
    sent = []

    def send_frame(picture, **options):
        sent.append(picture)
        if len(sent) == 1:
            raise BadRequest("too large")

    with running(example, monkeypatch, FakeServer()) as node:
        node._session = types.SimpleNamespace(send_frame=send_frame)
        for _ in range(2):
            show(node)
            wait_until(lambda: node._newest is None)
        wait_until(lambda: len(sent) == 2)
        assert node.logger.lines == ["a picture was not sent: too large"]


def test_a_session_that_is_over_ends_the_node(example, monkeypatch):
    def send_frame(picture, **options):
        raise SessionTakenOver("another program drives this vehicle")

    with running(example, monkeypatch, FakeServer()) as node:
        node._session = types.SimpleNamespace(send_frame=send_frame)
        show(node)
        node._sender.join(PATIENCE_S)
        with pytest.raises(SystemExit):
            tick(node)
    assert "another program drives this vehicle" in node.logger.lines[0]


def test_no_queue_holds_an_old_picture_or_an_old_command(example, monkeypatch):
    with running(example, monkeypatch, FakeServer()) as node:
        for topic in ("image", "odom"):
            qos = node.subscriptions[topic][2]
            assert (qos.reliability, qos.depth) == (ros2.ReliabilityPolicy.BEST_EFFORT, 1)
        qos = node.publishers["ackermann_cmd"].qos
        assert (qos.reliability, qos.depth) == (ros2.ReliabilityPolicy.RELIABLE, 1)
        assert node.timers[0][0] == 0.02
