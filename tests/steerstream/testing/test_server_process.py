from __future__ import annotations

import os

import pytest

import steerstream.blocking
from steerstream.testing.server_process import ServerFailedError, serve


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_serves_with_its_settings_and_ends_with_the_block(bundle_path, monkeypatch):
    # A proxy of the machine is not asked for what runs on the machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    core = min(os.sched_getaffinity(0))
    with serve(bundle_path, settings={"max_sessions": 3}, cores=[core]) as server:
        assert server.pid is not None
        assert os.sched_getaffinity(server.pid) == {core}
        with steerstream.blocking.connect(server.address) as client:
            served = client.describe_models()
        assert served.default_model == bundle_path.stem
        assert served.limits.max_sessions == 3
        assert is_running(server.pid)
    assert server.pid
    assert not is_running(server.pid)


def test_a_server_ends_with_a_block_that_fails(bundle_path):
    with pytest.raises(ZeroDivisionError), serve(bundle_path) as server:
        raise ZeroDivisionError
    assert server.pid
    assert not is_running(server.pid)


@pytest.mark.parametrize(
    ("options", "said"), [((), "nosuch.onnx"), (("--nosuch",), "unrecognized arguments: --nosuch")]
)
def test_a_server_that_does_not_start_says_why(tmp_path, options, said):
    with pytest.raises(ServerFailedError, match=said), serve(tmp_path / "nosuch.onnx",
                                                             options=options):  # fmt: skip
        pytest.fail("it must not start")
