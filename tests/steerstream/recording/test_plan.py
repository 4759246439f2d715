from __future__ import annotations

from steerstream.recording import topics
from steerstream.recording.plan import plan
from steerstream.recording.reader import Recorded
from steerstream.v1 import command_pb2, frame_pb2, recording_pb2, session_pb2

SESSION = Recorded(topics.SESSION, recording_pb2.RecordedSession(target="a"), 0)
RESET = Recorded(topics.RESET, session_pb2.Reset(), 0)


def frame(number):
    return Recorded(topics.FRAME, frame_pb2.Frame(sequence_number=number), 0)


def command(number, epoch, step):
    message = command_pb2.Command(sequence_number=number, state_epoch=epoch, step_count=step)
    return Recorded(topics.COMMAND, message, 0)


def skipped(number):
    return Recorded(topics.SKIPPED, command_pb2.FrameSkipped(sequence_number=number), 0)


def answered(*places):
    """A frame and its command for each pair of epoch and step; None for a skip."""
    found = [SESSION]
    for number, place in enumerate(places):
        found += [frame(number), skipped(number) if place is None else command(number, *place)]
    return found


def runs(messages):
    return [each.run for each in plan(messages).frames]


def test_a_drive_from_its_beginning_is_one_run():
    assert runs(answered((0, 1), (0, 2), (0, 3))) == [0, 0, 0]


def test_skipped_frames_are_left_out_for_the_state_has_not_seen_them():
    made = plan(answered((0, 1), None, (0, 2)))
    assert [each.run for each in made.frames] == [0, None, 0]
    assert (made.compared, made.skipped) == (2, 1)


def test_resets_and_gaps_do_not_end_a_run():
    assert runs(answered((0, 1), (0, 2), (1, 1), (1, 2), (4, 1))) == [0, 0, 0, 0, 0]


def test_what_came_before_the_recording_is_left_out_until_the_state_begins_afresh():
    made = plan(answered((2, 40), (2, 41), (3, 1), (3, 2)))
    assert [each.run for each in made.frames] == [None, None, 0, 0]
    assert [each.epoch for each in made.frames[2:]] == [3, 3]
    assert made.without_beginning == 2


def test_a_frame_that_the_state_has_seen_and_the_recording_lacks_ends_a_run():
    made = plan(answered((0, 1), (0, 3), (0, 4), (1, 1)))
    assert [each.run for each in made.frames] == [0, None, None, 1]
    assert made.without_beginning == 2


def test_a_session_that_began_afresh_is_another_run():
    assert runs(answered((0, 1), (0, 2), (0, 1), (0, 2))) == [0, 0, 1, 1]


def test_a_session_that_goes_on_at_another_server_is_the_same_run():
    messages = answered((0, 1), (0, 2))
    other = Recorded(topics.SESSION, recording_pb2.RecordedSession(target="b"), 0)
    messages += [other, frame(2), command(2, 0, 3)]
    made = plan(messages)
    assert [each.run for each in made.frames] == [0, 0, 0]
    assert made.session.target == "a"


def test_answers_are_found_whatever_came_in_between():
    messages = [frame(0), frame(1), RESET, frame(2), command(1, 0, 1), command(2, 1, 1), skipped(0)]
    assert runs(messages) == [None, 0, 0]


def test_a_frame_without_an_answer_is_left_out():
    made = plan([frame(0), command(0, 0, 1), frame(1), frame(2), command(2, 0, 2)])
    assert [each.run for each in made.frames] == [0, None, 0]
    assert made.unanswered == 1


def test_an_answer_whose_frame_is_missing_is_passed_over():
    assert runs([command(0, 0, 1), frame(1), command(1, 0, 2)]) == [None]


def test_nothing_is_planned_for_nothing():
    made = plan([])
    assert (made.session, made.compared) == (None, 0)
