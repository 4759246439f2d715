from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from steerstream.recording import topics
from steerstream.v1 import command_pb2


def test_a_schema_alone_decodes_its_messages():
    files = descriptor_pb2.FileDescriptorSet.FromString(topics.schema(command_pb2.Command))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    foreign = message_factory.GetMessageClass(pool.FindMessageTypeByName("steerstream.v1.Command"))
    command = command_pb2.Command(sequence_number=7)
    command.limited.speed_mps = 3.5
    read: Any = foreign.FromString(command.SerializeToString())
    assert read.limited.speed_mps == 3.5


def test_files_that_a_schema_imports_come_before_it_and_once():
    for kind in topics.TYPES.values():
        files = descriptor_pb2.FileDescriptorSet.FromString(topics.schema(kind)).file
        names = [file.name for file in files]
        assert len(set(names)) == len(names)
        assert names[-1] == kind.DESCRIPTOR.file.name
        for at, file in enumerate(files):
            assert set(file.dependency) <= set(names[:at])


def test_foxglove_finds_the_schemas_that_it_draws_by_name():
    assert topics.TYPES[topics.CAMERA].DESCRIPTOR.full_name == "foxglove.CompressedImage"
    assert topics.TYPES[topics.CAMERA_RAW].DESCRIPTOR.full_name == "foxglove.RawImage"
