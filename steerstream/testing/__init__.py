"""A scripted server inside the process, for tests of programs that use this package.

No socket, no network, no thread:

```python
server = FakeServer([Reply(steering_wheel_angle_rad=0.1), Skip(SkipReason.LATE), Drop()])
async with steerstream.connect("fake", transport=server.transport()) as client:
    async with client.open_session(vehicle_id="car") as session:
        command = await session.request(b"a picture")
```

With a `VirtualClock` latencies pass at once, and times are exact:

```python
clock = VirtualClock()
server = FakeServer(lambda frame: Reply(latency_ms=30), clock=clock)
client = steerstream.connect("fake", transport=server.transport(), clock=clock.now_ns)
```
"""

from steerstream.testing.clock import FakeClock, RealClock, VirtualClock
from steerstream.testing.script import Drop, Fail, Reaction, Reply, Script, Skip
from steerstream.testing.server import FakeServer, FakeTransport

__all__ = [
    "Drop",
    "Fail",
    "FakeClock",
    "FakeServer",
    "FakeTransport",
    "Reaction",
    "RealClock",
    "Reply",
    "Script",
    "Skip",
    "VirtualClock",
]
