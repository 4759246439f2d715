"""gRPC reads `GRPC_EXPERIMENTS` at import, and prints lines for names that it does not know.

Versions: grpcio 1.81.1 and 1.85.3.
Guess: a setting is read when the first channel or server is made, and an experiment that a newer
    version has dropped is ignored.
Behaviour: the variable counts at import alone. grpcio 1.85.3 has no `event_engine_dns` any more
    and writes two lines to stderr about it, past Python's logging.
Output seen: `config.cc:137] Unknown experiment: event_engine_dns` with 1.85.3, nothing with 1.81.1,
    and nothing with 1.85.3 where the variable is set after the import.
"""

from __future__ import annotations

from _packages import conclude, run

OFF = {"GRPC_EXPERIMENTS": "-event_engine_dns"}
LATER = """
import os
import grpc
os.environ["GRPC_EXPERIMENTS"] = "-event_engine_dns"
grpc.insecure_channel("127.0.0.1:1").close()
"""

old, _ = run("import grpc", "grpcio==1.81.1", environment=OFF)
new, _ = run("import grpc", "grpcio==1.85.3", environment=OFF)
later, _ = run(LATER, "grpcio==1.85.3")
conclude(old == later == "" and "Unknown experiment: event_engine_dns" in new, (old, new, later))
