from __future__ import annotations

import shutil
import time

import pytest

from steerstream.recording import topics
from steerstream.recording.files import OneFile, Ring
from steerstream.recording.reader import recordings
from steerstream.recording.track import Track
from steerstream.v1 import frame_pb2, recording_pb2, session_pb2
from tests.steerstream.recording.drives import messages, topics_of

LEAST = 8 * (1 << 18)
SESSION = (topics.SESSION, recording_pb2.RecordedSession(target="here"))
RESET = (topics.RESET, session_pb2.Reset())


def frame(number, size=10_000):
    return topics.FRAME, frame_pb2.Frame(sequence_number=number, jpeg=bytes(size))


def test_a_recording_goes_on_in_the_next_file_which_begins_with_the_session(tmp_path):
    recorded = Track("car", Ring(tmp_path, 10 * LEAST))
    recorded.write([SESSION], 1)
    for number in range(400):
        recorded.write([frame(number)], number)
    recorded.close()
    [found] = recordings([tmp_path])
    assert len(found.files) > 1
    assert all(topics_of(path)[0] == topics.SESSION for path in found.files)
    numbers = [
        each.message.sequence_number for each in found.messages() if each.topic == topics.FRAME
    ]
    assert numbers == list(range(400))


def test_a_session_that_begins_a_file_stands_there_once(tmp_path):
    recorded = Track("car", OneFile(tmp_path / "a.mcap"))
    recorded.write([SESSION], 1)
    recorded.write([SESSION, RESET], 2)
    recorded.close()
    assert topics_of(tmp_path / "a.mcap") == [topics.SESSION, topics.SESSION, topics.RESET]


def test_waiting_messages_are_handed_over_after_a_second(tmp_path, monkeypatch):
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    recorded = Track("car", OneFile(tmp_path / "a.mcap"))
    recorded.write([RESET], 1)
    recorded.flush()
    assert messages(tmp_path / "a.mcap") == []
    now_s = 1.1
    recorded.flush()
    assert topics_of(tmp_path / "a.mcap") == [topics.RESET]
    recorded.write([RESET], 2)
    recorded.flush()
    assert len(messages(tmp_path / "a.mcap")) == 1
    recorded.flush(at_once=True)
    assert len(messages(tmp_path / "a.mcap")) == 2
    recorded.close()
    recorded.close()


def test_a_message_larger_than_a_file_is_lost_and_the_rest_goes_on(tmp_path):
    recorded = Track("car", Ring(tmp_path, LEAST))
    recorded.write([frame(1), frame(2, size=1 << 19), frame(3)], 1)
    assert recorded.lost == 1
    assert "needs a larger bound" in str(recorded.error)
    recorded.close()


def test_on_a_full_disk_messages_are_lost_until_there_is_room(tmp_path, monkeypatch, full_disk):
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    recorded = Track("car", Ring(tmp_path, LEAST))
    recorded.write([SESSION], 1)
    with full_disk:
        recorded.write([frame(1)], 2)
        recorded.flush(at_once=True)
        assert recorded.error.strerror == "File too large"
        recorded.write([frame(2)], 3)
    # Nobody tries again at once: a full disk would be asked for every frame.
    recorded.write([frame(3)], 4)
    assert recorded.lost == 4
    assert recorded.is_losing
    now_s = 20.0
    recorded.write([frame(4)], 5)
    assert recorded.is_losing, "nothing was written yet"
    recorded.flush(at_once=True)
    assert not recorded.is_losing
    recorded.close()
    assert len(list(tmp_path.glob("*.mcap"))) == 1, "no file without a message is left"
    found = [each for recording in recordings([tmp_path]) for each in recording.messages()]
    assert [each.topic for each in found] == [topics.SESSION, topics.FRAME]
    assert found[-1].message.sequence_number == 4


def test_after_a_full_disk_another_file_is_tried_while_messages_go_on_coming(
    tmp_path, monkeypatch, full_disk
):
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    recorded = Track("car", Ring(tmp_path, LEAST))
    with full_disk:
        recorded.write([SESSION, frame(0, size=30_000)], 1)
        recorded.flush(at_once=True)
    for number in range(1, 20):
        now_s = float(number)
        recorded.write([frame(number)], number)
    assert recorded.lost == 2 + 9, "those of ten seconds"
    recorded.close()
    found = [each for recording in recordings([tmp_path]) for each in recording.messages()]
    assert [each.topic for each in found] == [topics.SESSION, *[topics.FRAME] * 10]


def test_one_file_that_could_not_be_written_is_not_begun_again(tmp_path, full_disk):
    recorded = Track("car", OneFile(tmp_path / "a.mcap"))
    recorded.write([RESET], 1)
    recorded.flush(at_once=True)
    with full_disk:
        recorded.write([frame(1)], 2)
        recorded.flush(at_once=True)
    recorded.write([RESET], 3)
    recorded.close()
    assert recorded.lost == 2
    assert topics_of(tmp_path / "a.mcap") == [topics.RESET]


def test_an_end_that_cannot_be_written_is_told(tmp_path, full_disk):
    recorded = Track("car", OneFile(tmp_path / "a.mcap"))
    recorded.write([frame(1)], 1)
    with full_disk:
        recorded.close()
    assert recorded.error.strerror == "File too large"


@pytest.mark.parametrize("topic", [topics.SESSION, topics.RESET])
def test_a_folder_that_is_gone_is_made_again(tmp_path, topic):
    folder = tmp_path / "ring"
    recorded = Track("car", Ring(folder, LEAST))
    shutil.rmtree(folder)
    recorded.write([SESSION if topic == topics.SESSION else RESET], 1)
    recorded.close()
    assert (recorded.lost, recorded.error) == (0, None)
    assert len(list(folder.glob("*.mcap"))) == 1


def test_a_folder_that_cannot_be_made_again_loses_messages_and_raises_nothing(tmp_path):
    folder = tmp_path / "ring"
    recorded = Track("car", Ring(folder, LEAST))
    shutil.rmtree(folder)
    folder.write_text("a file")
    recorded.write([RESET], 1)
    assert recorded.lost == 1
    recorded.flush(at_once=True)
    recorded.close()


def test_a_recording_whose_folder_is_removed_goes_on_in_a_new_one(tmp_path, monkeypatch):
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    folder = tmp_path / "ring"
    recorded = Track("car", Ring(folder, LEAST))
    recorded.write([SESSION, frame(1)], 1)
    shutil.rmtree(folder)
    recorded.flush(at_once=True)
    assert recorded.is_losing
    assert "somebody deleted the file" in str(recorded.error)
    now_s = 20.0
    recorded.write([frame(2)], 2)
    recorded.flush(at_once=True)
    assert not recorded.is_losing
    recorded.close()
    found = [each for recording in recordings([folder]) for each in recording.messages()]
    assert [each.topic for each in found] == [topics.SESSION, topics.FRAME]
    assert recorded.lost == 2
