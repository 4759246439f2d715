"""The command line of the benchmarks: `python -m benchmark latency`, and so on."""

from __future__ import annotations

import argparse
import shlex
import sys
from types import ModuleType

from benchmark.errors import BenchmarkError
from steerstream import whole_file
from steerstream.command_line import (
    CANNOT_START,
    INTERRUPTED,
    Parser,
    output_file,
    sigterm_interrupts,
)
from steerstream.extras import command_needs, server_extras
from steerstream.testing.server_process import ServerFailedError

with command_needs("benchmark", *(f"{extra},sim" for extra in server_extras())):
    from benchmark.commands import (
        attack,
        capacity,
        decode,
        efficiency,
        environment,
        failover,
        fairness,
        gpu,
        growth,
        histories,
        latency,
        overload,
        peers,
        recording,
        result_pages,
        soak,
        stall,
        tls,
        watch,
    )
    from reports import machine

COMMANDS: dict[str, ModuleType] = {
    "latency": latency,
    "capacity": capacity,
    "efficiency": efficiency,
    "overload": overload,
    "stall": stall,
    "fairness": fairness,
    "soak": soak,
    "attack": attack,
    "failover": failover,
    "histories": histories,
    "decode": decode,
    "recording": recording,
    "tls": tls,
    "growth": growth,
    "gpu": gpu,
    "peers": peers,
    "watch": watch,
    "environment": environment,
}
"""Each has `HELP`, `add_arguments(parser)`, `run(options)`, which returns what JSON can hold,
`table(results)`, which returns Markdown, and most `plot(results, path)`."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but for those that say nothing, such as None, and for those in the text."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default is None or action.default is False or action.default == ""
        if says_nothing or "(default: " in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="python -m benchmark", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=_HelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument(
            "--json", type=output_file, help="write the results here; missing folders are made"
        )
        if hasattr(module, "plot"):
            command.add_argument(
                "--plot",
                type=output_file,
                help="draw them here, .svg or .png; missing folders are made",
            )
    writer = commands.add_parser("report", help=result_pages.HELP, description=result_pages.__doc__)
    result_pages.add_arguments(writer)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    try:
        if options.command == "report":
            return result_pages.run(options)
        with sigterm_interrupts():
            _run(COMMANDS[options.command], options, given)
    except (BenchmarkError, ServerFailedError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _run(module: ModuleType, options: argparse.Namespace, given: list[str]) -> None:
    described = machine.describe()
    results = module.run(options)
    print(module.table(results))
    if options.json:
        written = {
            "benchmark": options.command,
            "command": shlex.join(["python", "-m", "benchmark", *_without_files(given)]),
            "machine": described,
            "results": results,
        }
        whole_file.write_json(options.json, written)
    if getattr(options, "plot", None):
        with whole_file.replacing(options.plot) as part:
            module.plot(results, part)


_LOCAL = ("--json", "--plot", "--data", "--environments")
"""Options that name files of the one who measured."""


def _without_files(given: list[str]) -> list[str]:
    """Return a command line as anybody can repeat it."""
    kept, rest = [], iter(given)
    for item in rest:
        if item in _LOCAL:
            next(rest, None)
        elif item.partition("=")[0] not in _LOCAL:
            kept.append(item)
    return kept


if __name__ == "__main__":
    sys.exit(main())
