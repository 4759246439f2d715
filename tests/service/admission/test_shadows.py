"""Which sessions get a shadow: those in the share, that see the same, if there is room."""

from __future__ import annotations

import pytest

from steerstream_bundle.loading import load
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model, RoutingError
from steerstream_service.admission.shadows import Shadows
from steerstream_service.config import Config
from steerstream_service.domain import Camera, FramePolicy, Opening
from steerstream_service.engine.thread_engine import ThreadEngine
from steerstream_service.errors import UnknownModelError
from tests.service import bundles

CONFIG = Config(max_sessions=2, max_batch=1, max_load=100.0)


@pytest.fixture
def admission(tmp_path):
    bundle = load(bundles.recurrent(tmp_path / "a.onnx"))
    models = {name: Model(bundle, CONFIG, name) for name in ("drives", "shadow")}
    for model in models.values():
        model.queue.warm_up()
    return Admission(models, "drives", CONFIG)


@pytest.fixture
def shadows(admission):
    engine = ThreadEngine([model.queue for model in admission.models.values()])
    return Shadows(admission, engine)


def admit(admission, vehicle_id="car", model=None):
    camera = Camera(0, 0, 0.0, 0.0, 0.0)
    policy = FramePolicy.LATEST
    return admission.admit(Opening(vehicle_id, model, 1000.0, policy, camera, b"", 20.0))


def free(admission):
    return admission.models["shadow"].queue.pool.free


def test_a_shadow_holds_a_slot_and_load_as_long_as_its_session(admission, shadows):
    shadows.compare("shadow", 1.0)
    lease = admit(admission)
    before = admission.capacity.load
    with shadows.beside(lease) as shadow:
        assert shadow is not None
        assert free(admission) == 1
        assert admission.capacity.load > before
    assert free(admission) == 2
    assert admission.capacity.load == pytest.approx(before)


def test_a_session_that_takes_over_gets_the_slot_of_the_shadow_beside_the_one_before(
    admission, shadows
):
    shadows.compare("shadow", 1.0)
    with shadows.beside(admit(admission, "car")), shadows.beside(admit(admission, "other")):
        assert free(admission) == 0
        # The streams of the sessions before have not ended yet.
        newer = [admit(admission, name, model="shadow") for name in ("car", "other")]
    assert (admission.sessions, free(admission)) == (2, 0)
    for lease in newer:
        admission.release(lease)
    assert free(admission) == 2
    assert admission.capacity.load == 0.0


def test_there_is_none_without_a_comparison_or_outside_the_share(admission, shadows):
    lease = admit(admission)
    with shadows.beside(lease) as shadow:
        assert shadow is None
    shadows.compare("shadow", 0.0)
    with shadows.beside(lease) as shadow:
        assert shadow is None


def test_a_model_has_no_shadow_of_itself(admission, shadows):
    shadows.compare("shadow", 1.0)
    with shadows.beside(admit(admission, model="shadow")) as shadow:
        assert shadow is None


def test_a_session_drives_without_a_shadow_where_there_is_no_room(admission, shadows):
    shadows.compare("shadow", 1.0)
    slots = [admission.models["shadow"].queue.pool.allocate() for _ in range(2)]
    with shadows.beside(admit(admission)) as shadow:
        assert shadow is None
    for slot in slots:
        admission.models["shadow"].queue.pool.release(slot)
    assert free(admission) == 2


def test_a_new_comparison_ends_the_one_before(admission, shadows):
    shadows.compare("shadow", 1.0)
    first = shadows.comparison
    shadows.compare("", 0.0)
    assert first.has_ended
    assert shadows.comparison is None


@pytest.mark.parametrize(
    ("name", "share", "error"),
    [("shadow", 1.1, RoutingError), ("none", 0.5, UnknownModelError)],
)
def test_wrong_comparisons_change_nothing(shadows, name, share, error):
    shadows.compare("shadow", 1.0)
    with pytest.raises(error):
        shadows.compare(name, share)
    assert shadows.comparison.name == "shadow"
    assert not shadows.comparison.has_ended


def test_a_network_that_sees_something_else_is_refused(admission, shadows, tmp_path):
    frame = bundles.contract().frame
    cropped = type(frame)(
        tensor=frame.tensor,
        height_px=frame.height_px,
        width_px=frame.width_px,
        crop=type(frame.crop)(top=0.25),
    )
    bundle = load(bundles.recurrent(tmp_path / "b.onnx", name="cropped", frame=cropped))
    admission.catalogue.add(Model(bundle, CONFIG))
    with pytest.raises(RoutingError, match="same part"):
        shadows.compare("cropped", 0.5)
