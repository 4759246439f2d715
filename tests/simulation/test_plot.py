import cv2

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import drive_lock_step
from steerstream_simulation.drivers import LocalDriver, expert_policy
from steerstream_simulation.plot import DrivePlot
from steerstream_simulation.world import World


async def test_a_drive_becomes_one_picture(tmp_path):
    world = World(1, seconds=1.0, camera=CameraConfig(width_px=128, height_px=96))
    plot = DrivePlot(20, budget_ms=50.0, rate_hz=20.0)
    driver = LocalDriver(expert_policy(world), latency_ms=60.0)
    await drive_lock_step(world, driver, frames=20, observe=plot)
    plot.save(tmp_path / "new" / "drive.png")
    picture = cv2.imread(str(tmp_path / "new" / "drive.png"))
    assert picture is not None
    assert picture.shape == (825, 1200, 3)
    assert picture[:225].std() > 20
