#!/usr/bin/env bash
# A gRPC server that refuses a client's certificate says nothing of it; the connection just ends.
#
# Version: grpcio 1.85.3; Python's own ssl beside it.
# Guess: a server that requires a client's certificate answers a client without one with the alert of
#     TLS, "certificate required", as OpenSSL does by default.
# Behaviour: under TLS 1.3 the handshake succeeds for the client, and then the connection ends without
#     an alert. So a missing, a foreign and an expired certificate look alike, and like a server that
#     was stopped.
# Output seen: a client without a certificate sees `ended` at a gRPC server, and
#     `TLSV13_ALERT_CERTIFICATE_REQUIRED` at one of Python's ssl, with the same files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" grpcio==1.85.3 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$folder/key" -out "$folder/certificate" 2>/dev/null

seen=$(cd "$folder" && PYTHONPATH="$folder/site" timeout 60 python3 - 2>/dev/null <<'PROGRAM'
import socket, ssl, threading
from concurrent import futures
from pathlib import Path
import grpc

key, certificate = Path("key").read_bytes(), Path("certificate").read_bytes()


def ask(port):
    """Connect without a certificate, and say how the connection ends."""
    context = ssl.create_default_context(cafile="certificate")
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
                return "data" if encrypted.recv(1) else "ended"
        except ssl.SSLError as error:
            return error.reason


def answer_once(listener, context):
    try:
        context.wrap_socket(listener.accept()[0], server_side=True)
    except ssl.SSLError:
        pass


server = grpc.server(futures.ThreadPoolExecutor(1))
credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
by_grpc = ask(port)
server.stop(None)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("certificate", "key")
context.verify_mode = ssl.CERT_REQUIRED
context.load_verify_locations("certificate")
context.set_alpn_protocols(["h2"])
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=answer_once, args=(listener, context), daemon=True).start()
print(by_grpc, ask(listener.getsockname()[1]))
PROGRAM
)
expected="ended TLSV13_ALERT_CERTIFICATE_REQUIRED"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
