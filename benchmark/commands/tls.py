"""What TLS costs a server: the CPU time of a frame with it and without, in turns.

Two servers run on the same cores, one in plain text and one with a certificate of its own. Vehicles
drive at the one and then at the other, round after round, so that what else happens on the machine
meets both. A server carries vehicles until its CPU time is used up, so the ratio of the times that
a frame takes is that of the vehicles that are carried.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import ipaddress
import itertools
import shlex
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmark import progress
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError
from benchmark.host.machine import Moment
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from reports import text
from steerstream.command_line import count
from steerstream.testing.server_process import Server

HELP = "what TLS costs: the CPU time of a frame with it and without, in turns"
_VALID_FOR = dt.timedelta(days=1)
_MISSED = 1.0
"""Percent of its frames that a server may miss in a round that counts."""
_ORDERS = (("plain", "tls"), ("tls", "plain"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_load(parser, seconds=5.0)
    add = parser.add_argument
    add("--vehicles", type=count, default=8, help="that drive at once")
    add("--rounds", type=count, default=7, help="turns of each server")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let vehicles drive at both servers in turns.

    Returns:
        `vehicles`; `rounds` with the figures of `plain` and `tls` of each; `undisturbed`, how many
        of them count; `ratio`, their median of the CPU time of a frame in plain text to that with
        TLS.

    Raises:
        BenchmarkError: the server was given, or a server or load generator could not do its part.
    """
    if options.target:
        raise BenchmarkError("tls starts its servers itself; leave out --target")
    load = shared.load(options, vehicles=options.vehicles)
    with (
        tempfile.TemporaryDirectory(prefix="tls-") as folder,
        _servers(options, Path(folder)) as servers,
        shared.clients(options) as crew,
    ):
        rounds = [
            # Each is first in every other round, so that a machine that slows down favours neither.
            {name: _measure(crew, servers[name], load, name) for name in order}
            for _, order in zip(range(options.rounds), itertools.cycle(_ORDERS), strict=False)
        ]
    return {"vehicles": load.vehicles, "rounds": rounds, **judged(rounds)}


def judged(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return the ratio, and how many rounds it comes from: all, where all were disturbed.

    A frame that is missed costs less than one that is answered, so a round counts only if the
    machine left both servers time for nearly all frames.
    """
    undisturbed = [
        each for each in rounds if max(one["missed_percent"] for one in each.values()) <= _MISSED
    ]
    ratios = [each["plain"]["cpu_us"] / each["tls"]["cpu_us"] for each in undisturbed or rounds]
    return {"undisturbed": len(undisturbed), "ratio": round(statistics.median(ratios), 4)}


def table(results: dict[str, Any]) -> str:
    """Return the medians over the rounds as Markdown."""
    rows = [
        [
            what,
            *(
                text.number(statistics.median(each[name][key] for each in results["rounds"]), 2)
                for key in ("cpu_us", "p50_ms", "p99_ms", "missed_percent")
            ),
        ]
        for name, what in (("plain", "plain text"), ("tls", "TLS"))
    ]
    columns = ["", "CPU of a frame, us", "p50, ms", "p99, ms", "missed, %"]
    told = (
        f"{results['vehicles']} vehicles; plain text / TLS: {results['ratio']:.3f}, by "
        f"{results['undisturbed']} undisturbed rounds of {len(results['rounds'])}"
    )
    return f"{text.table(columns, rows)}\n\n{told}"


@contextlib.contextmanager
def _servers(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Server]]:
    certificate, key = _self_signed(folder)
    tls = shlex.join(["--tls-cert", str(certificate), "--tls-key", str(key)])
    changes = {"server_args": f"{options.server_args} {tls}", "ca_file": certificate}
    with (
        shared.server(options) as plain,
        shared.server(argparse.Namespace(**vars(options) | changes)) as encrypted,
    ):
        yield {"plain": plain, "tls": encrypted}


def _measure(crew: Crew, server: Server, load: Load, what: str) -> dict[str, float]:
    before = Moment.now(server.pid)
    with progress.step(f"{what}, {load.vehicles} vehicles", load.total_s):
        tally = crew.run(server.address, load, ca_file=server.ca_file)
    cpu_s = Moment.now(server.pid).cpu_since(before)
    summary = tally.summary()
    if not tally.commands:
        raise BenchmarkError(f"no frame was answered over {what}: {text.counts(tally.refused)}")
    # Frames of the warm-up are not counted, but cost the same.
    frames = tally.frames * (load.warm_up_s + load.seconds) / load.seconds
    return {
        "cpu_us": round(1e6 * cpu_s / frames, 1),
        "p50_ms": summary["latency_ms"]["round_trip"]["p50"],
        "p99_ms": summary["latency_ms"]["round_trip"]["p99"],
        "missed_percent": summary["missed_percent"],
    }


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a key and a certificate of this machine that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID_FOR)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.crt", folder / "server.key"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file
