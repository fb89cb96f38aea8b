"""The command line. Exit codes: 0 done, 1 the server refused or a part failed, 2 a wrong setting."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__, log
from .config import (
    ConfigError,
    check_ca_file,
    check_certificates,
    check_commands,
    default_config_file,
    default_state_dir,
    load,
    merge,
    read_file,
)

EPILOG = "The key is best kept out of the command line, where `ps` shows it: use --config or BINNACLE_KEY."


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and never repeats a value, which may be a key."""

    def error(self, message: str) -> NoReturn:
        words = "there is an argument that is not known" if "unrecognized" in message else log.redact(message)
        self.exit(2, f"{self.prog}: {words}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="binnacle-connector", description="Reports this computer to a Binnacle console.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"binnacle-connector {__version__}")
    parser.add_argument("--server", metavar="URL", help="the console's address (BINNACLE_SERVER)")
    parser.add_argument("--key", help="this computer's key, chatops_… (BINNACLE_KEY)")
    parser.add_argument("--interval", metavar="SECONDS", help="until the server sets one: 1 to 3600, default 10")
    parser.add_argument(
        "--no-commands", dest="commands", action="store_const", const="no", help="refuse every command of the server"
    )
    parser.add_argument(
        "--containers", metavar="WHERE", help="auto, off, or the engine's address (BINNACLE_CONNECTOR_CONTAINERS)"
    )
    parser.add_argument(
        "--certificates", metavar="PATHS", help="auto, off, or files with commas (BINNACLE_CONNECTOR_CERTIFICATES)"
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default info")
    parser.add_argument("--once", action="store_true", help="print one sample as JSON and exit")
    parser.add_argument("--inventory", action="store_true", help="print the inventory as JSON and exit")
    _shared(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    enrol = commands.add_parser("enrol", help="trade a one-time token for a key, and write the config file")
    enrol.add_argument(
        "--server", metavar="URL", default=argparse.SUPPRESS, help="the console's address (BINNACLE_SERVER)"
    )
    enrol.add_argument("--token", help="from the Add computer page (BINNACLE_TOKEN)")
    install = commands.add_parser("install", help="write, enable and start the systemd service")
    uninstall = commands.add_parser("uninstall", help="stop and remove the systemd service; config and spool stay")
    for command in (install, uninstall):
        command.add_argument("--unit-dir", type=Path, default=Path("/etc/systemd/system"), help=argparse.SUPPRESS)
        command.add_argument(
            "--no-start", action="store_true", help="leave systemd alone, only write or remove the unit"
        )
    install.add_argument(
        "--no-commands",
        dest="commands",
        action="store_const",
        const="no",
        default=argparse.SUPPRESS,
        help="a service that refuses every command and is sandboxed",
    )
    install.add_argument("--print", action="store_true", help="print the unit and change nothing")
    for command in (enrol, install):
        _shared(command, inherited=True)
    return parser


def _shared(parser: argparse.ArgumentParser, inherited: bool = False) -> None:
    default = argparse.SUPPRESS if inherited else None
    parser.add_argument("--config", metavar="FILE", default=default, help="JSON or INI, mode 0600 (BINNACLE_CONFIG)")
    parser.add_argument("--state-dir", metavar="DIR", default=default, help="spool and identity (BINNACLE_STATE_DIR)")
    parser.add_argument("--ca-file", metavar="PEM", default=default, help="certificates to trust (BINNACLE_CA_FILE)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    arguments = _parser().parse_args(argv)
    log.configure("info")
    try:
        if arguments.once:
            return _once()
        if arguments.inventory:
            return _inventory(arguments)
        chosen = {"enrol": _enrol, "install": _install, "uninstall": _uninstall}.get(arguments.command, _run)
        return chosen(arguments)
    except ConfigError as error:
        print(f"binnacle-connector: {log.redact(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace) -> int:
    settings = load(vars(arguments))
    log.configure(settings.log_level)
    os.environ.pop("BINNACLE_KEY", None)  # no program that is started from here inherits it
    from .run import run

    return run(settings)


def _once() -> int:
    import time

    from .metrics import Sampler

    sampler = Sampler()
    time.sleep(0.5)
    print(json.dumps(sampler.sample(), allow_nan=False))
    return 0


def _inventory(arguments: argparse.Namespace) -> int:
    from . import inventory

    patterns = check_certificates(merge(vars(arguments)).get("certificates"))
    for piece in inventory.chunks(inventory.collect(patterns)):
        sys.stdout.write(piece)
    print()
    return 0


def _paths(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """The config file and the state folder that a sub-command works on."""
    config = arguments.config or os.environ.get("BINNACLE_CONFIG") or default_config_file()
    state = arguments.state_dir or os.environ.get("BINNACLE_STATE_DIR") or default_state_dir()
    return Path(config).expanduser(), Path(state).expanduser()


def _enrol(arguments: argparse.Namespace) -> int:
    from .enrol import EnrolmentError, enrol
    from .state import StateDir

    server = arguments.server or os.environ.get("BINNACLE_SERVER")
    token = arguments.token or os.environ.get("BINNACLE_TOKEN")
    if not server or not token:
        raise ConfigError("To enrol, give --server and --token (or BINNACLE_SERVER and BINNACLE_TOKEN).")
    config, state_dir = _paths(arguments)
    ca_file = check_ca_file(arguments.ca_file or os.environ.get("BINNACLE_CA_FILE"))
    state = StateDir(state_dir)
    try:
        answer = enrol(server, token, state.connector_id(), config, ca_file)
    except EnrolmentError as error:
        print(f"binnacle-connector: {log.redact(str(error))}", file=sys.stderr)
        return 1
    print(f"Enrolled as {log.brief(answer['name'])} ({log.brief(answer['server_id'])}). The key is in {config}.")
    return 0


def _install(arguments: argparse.Namespace) -> int:
    from . import service

    config, state_dir = _paths(arguments)
    given = {"config": str(config), "state_dir": str(state_dir), "commands": arguments.commands}
    if arguments.print:
        chosen = arguments.commands or read_file(config, must_exist=False).get("commands")
        print(service.unit(config.absolute(), state_dir.absolute(), check_commands(chosen)), end="")
        return 0
    commands = load(given, {}).commands
    path = service.install(config, state_dir, commands, arguments.unit_dir, start=not arguments.no_start)
    print(f"Installed {path}. {'The console may run commands here as root.' if commands else 'It runs no commands.'}")
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    from . import service

    path = service.uninstall(arguments.unit_dir, stop=not arguments.no_start)
    print(f"Removed {path}. The config file and the spool stay.")
    return 0
