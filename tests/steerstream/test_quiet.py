from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading

import pytest


@pytest.mark.parametrize(("given", "used"), [(None, "NONE"), ("DEBUG", "DEBUG")])
def test_grpc_is_quiet_unless_the_environment_says_how_loud_it_is(given, used):
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if given is not None:
        environment["GRPC_VERBOSITY"] = given
    program = "import steerstream, os; print(os.environ['GRPC_VERBOSITY'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{used}\n"


class RefusingProxy(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")


@pytest.mark.parametrize("address", ["garbage", "http://127.0.0.1:{port}"])
def test_a_proxy_that_fails_leaves_nothing_on_stderr(address):
    program = """
import steerstream.blocking

try:
    steerstream.blocking.connect("no.such.host.invalid:50051")
except steerstream.ConnectionFailed:
    print("failed")
"""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RefusingProxy) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"GRPC_VERBOSITY", "grpc_proxy", "https_proxy", "no_proxy"}
        }
        environment["http_proxy"] = address.format(port=proxy.server_address[1])
        try:
            done = subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            proxy.shutdown()
    assert (done.stdout, done.stderr) == ("failed\n", "")
