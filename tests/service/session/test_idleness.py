"""A session that sends nothing: a notice, then the end."""

from steerstream_service.domain import Command, ExpiringNotice
from steerstream_service.errors import IdleError
from tests.service.shell import Shell


def test_silence_ends_the_session_after_a_notice():
    shell = Shell().wait(7_999).tick()
    assert shell.sent == []
    shell.wait(1).tick().tick()
    assert shell.sent == [ExpiringNotice(2000)]
    shell.wait(2_000).tick()
    assert isinstance(shell.sent[-1], IdleError)


def test_a_frame_keeps_the_session():
    shell = Shell().wait(9_000).tick()
    shell.drive(0, 0)
    shell.wait(7_999).tick()
    assert [type(message) for message in shell.sent] == [ExpiringNotice, Command]
