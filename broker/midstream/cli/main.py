"""`midstream`: the command line. Each command imports only what it needs, so that `midstream tail` starts at once."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from midstream.cli import (
    act_commands,
    archive_commands,
    capacity_command,
    cost_command,
    list_commands,
    operate_commands,
    outlet_commands,
    stream_commands,
)
from midstream.cli.key_commands import keys
from midstream.cli.terminal import echo
from midstream.client.client import MidstreamError
from midstream.journal.plain_text import harmless_line

EXTRAS: Final = {"up": "up"} | dict.fromkeys(("broker", "worker", "config", "keys", "export", "import"), "server")
"""The extra that a command needs to be installed; the other commands need only the client's dependencies."""
COMPLETION: Final = """\b
A shell completes commands and options after
  bash  eval "$(_MIDSTREAM_COMPLETE=bash_source midstream)"
  zsh   eval "$(_MIDSTREAM_COMPLETE=zsh_source midstream)"
  fish  _MIDSTREAM_COMPLETE=fish_source midstream | source
"""
"""The end of the help; click wraps no paragraph that begins with this character."""
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MidstreamError as error:
            echo(f"error {harmless_line(error.code)}: {harmless_line(error.detail)}", err=True)
            for at, why in error.errors:
                echo(f"  {harmless_line(at)}: {harmless_line(why)}", err=True)
            ctx.exit(1)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(ctx.invoked_subcommand or "")
            if extra is None:
                raise
            reason = f"`midstream {ctx.invoked_subcommand}` needs pip install 'midstream[{extra}]': {error}"
            raise click.UsageError(reason) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=COMPLETION)
@click.version_option(package_name="midstream")
def main() -> None:
    """A resumable stream broker with a durable event log for LLM generations.

    Settings come from MIDSTREAM_* variables: see `midstream config`.
    """


def _listening(command: Decorated) -> Decorated:
    """Add the options of a command that opens the broker's port. Without them the settings hold."""
    host = click.option("--host", help="The address to listen on.  [default: MIDSTREAM_HOST, 127.0.0.1]")
    port = click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        help="The port to listen on; 0 picks a free one.  [default: MIDSTREAM_PORT, 8080]",
    )
    return host(port(command))


@main.command()
@_listening
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the data.  [default: MIDSTREAM_DATA_DIR, .midstream]",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of worker processes.")
@click.option(
    "--redis-port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="A port of loopback for the embedded Valkey, beside its socket. Every user of this machine can read by it.",
)
@click.option(
    "--maxmemory",
    help="Most memory of the embedded Valkey, as in 512mb; 0: no limit.  [default: MIDSTREAM_UP_MAXMEMORY, 1gb]",
)
@click.option("--no-local-model", is_flag=True, help="Do not run the small local model, even if it is installed.")
@click.option(
    "--reload", is_flag=True, help="Start the workers again when a Python file below this folder has changed."
)
def up(
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    workers: int,
    redis_port: int,
    maxmemory: str | None,
    no_local_model: bool,
    reload: bool,
) -> None:
    """Run all of midstream on this machine.

    That is an embedded Valkey server, a worker, a broker and, if it is installed, a small local model.
    """
    from midstream.cli import up as tree  # noqa: PLC0415
    from midstream.cli.setup import load_settings  # noqa: PLC0415

    settings = load_settings(host=host, port=port, data_dir=data_dir, up_maxmemory=maxmemory)
    options = tree.Options(workers, local_model=not no_local_model, redis_port=redis_port, reloads=reload)
    sys.exit(tree.up(settings, options))


@main.command()
@_listening
@click.option("--fd", type=int, hidden=True, help="A socket that already listens; `up` passes it on.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of processes that share the port.",
)
def broker(host: str | None, port: int | None, fd: int | None, workers: int) -> None:
    """Run a broker, which serves streams over HTTP. Any number of brokers can share one Redis."""
    from midstream.cli.serve import serve, serve_many  # noqa: PLC0415
    from midstream.cli.server_kind import check_server  # noqa: PLC0415
    from midstream.cli.setup import load_settings  # noqa: PLC0415

    settings = load_settings(host=host, port=port)
    if fd is None:  # otherwise the process that passed the socket on has checked already
        check_server(settings)
    if workers > 1:
        sys.exit(serve_many(settings, workers))
    serve(settings, fd)


@main.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of worker processes: one fills one processor.",
)
def worker(processes: int) -> None:
    """Run a worker, which calls the models. Any number of workers can share one Redis."""
    from midstream.cli.server_kind import check_server  # noqa: PLC0415
    from midstream.cli.setup import load_settings  # noqa: PLC0415

    settings = load_settings(listens=False)
    check_server(settings)  # reports faults in them more plainly than the worker would
    if processes > 1:
        from midstream.cli.work import work_many  # noqa: PLC0415

        sys.exit(work_many(settings, processes))
    # The worker is another program: the broker imports nothing of it.
    os.execv(sys.executable, (sys.executable, "-P", "-m", "midstream_worker"))  # noqa: S606


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def config(as_json: bool) -> None:
    """Print all settings with their values, defaults and meanings. Secrets are masked."""
    from midstream.cli import config as table  # noqa: PLC0415
    from midstream.cli.setup import load_settings  # noqa: PLC0415

    table.print_settings(load_settings(), as_json=as_json)


main.add_command(keys)
ROOMS: Final = (
    *(stream_commands, list_commands, operate_commands, act_commands),
    *(archive_commands, outlet_commands, cost_command, capacity_command),
)
for room in ROOMS:
    for command in room.COMMANDS:
        main.add_command(command)
