"""The commands `export` and `import`. They work at Redis itself, which an operator reaches."""

import asyncio
import fcntl
import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from midstream.cli.terminal import echo, echo_json, echo_progress
from midstream.finder.where import OUTCOMES
from midstream.journal.plain_text import harmless_line

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from midstream.settings import Settings

CONNECTIONS: Final = 2
PRIVATE_FILE: Final = 0o600

_FILE: Final = click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command("export")
@_FILE
@click.option("--tenant", default="", help="Only streams of this tenant.")
@click.option("--user", default="", help="Only streams of this user.")
@click.option("--thread", default="", help="Only streams of this thread.")
@click.option(
    "--outcome", "outcomes", multiple=True, type=click.Choice(OUTCOMES), help="Only streams that ended so; repeatable."
)
@click.option(
    "--without-secret",
    is_flag=True,
    help="Leave the installation's secret out. With it, idempotency keys find their streams where they are imported.",
)
@_JSON
def export_streams(path: Path, *, without_secret: bool, as_json: bool, **filters: Any) -> None:
    """Write all streams that have ended to the archive FILE.

    It works at the Redis of MIDSTREAM_REDIS_URL. If FILE is there, what it lacks is appended, so that an export that
    was stopped can go on. FILE holds all prompts and answers. If no filter is given, it also holds the secret that
    idempotency keys depend on, and that signs tokens unless MIDSTREAM_TOKEN_SECRETS is set: keep it as one.
    """
    from midstream.log.installation import kept_secret  # noqa: PLC0415 - it needs the extra `server`
    from midstream.log.log import Log  # noqa: PLC0415
    from midstream.log.whole import WholeStreams  # noqa: PLC0415
    from midstream.operate.archive.archive_lines import Heading, secret_digest  # noqa: PLC0415
    from midstream.operate.archive.exporter import Exporter, Selection  # noqa: PLC0415

    async def run(redis: "Redis", settings: "Settings") -> int:
        selection = Selection(**filters)
        secret = (await kept_secret(redis, settings.key_prefix)).decode()
        with_secret = not (without_secret or selection.filters)
        heading = Heading(selection.filters, secret_digest(secret), secret if with_secret else "")
        streams = WholeStreams(redis, settings.key_prefix)
        await _note(redis, settings, "export", where=selection.filters)
        exporter = Exporter(Log(redis, settings.key_prefix), streams, _bounds(settings))
        with _opened(path, os.O_RDWR | os.O_CREAT) as file:
            result = await exporter.run(file, selection, heading, partial(echo_progress, unit="streams"))
        if as_json:
            echo_json(asdict(result))
        else:
            echo(f"{result.streams} streams exported, {result.entries} entries; {result.there} were there already")
            if result.running or result.gone:
                echo(f"left out: {result.running} have not ended, {result.gone} went meanwhile")
        for name in result.unreadable:
            echo(f"unreadable: {harmless_line(name)}", err=True)
        return 1 if result.unreadable else 0

    _at_redis(run)


@click.command("import")
@_FILE
@click.option("--tenant", default="", help="Refuse an archive with a stream of another tenant.")
@click.option("--check", "only_check", is_flag=True, help="Only read the archive and say whether it can be used.")
@click.option(
    "--any-secret",
    is_flag=True,
    help="Import even though idempotency keys and chats will not find the streams, and pay again.",
)
@_JSON
def import_streams(path: Path, tenant: str, *, only_check: bool, any_secret: bool, as_json: bool) -> None:
    """Bring the streams of the archive FILE in, with their ids, offsets and times.

    It works at the Redis of MIDSTREAM_REDIS_URL. The archive is checked as a whole before anything is written. Streams
    that are there already are left alone, so an import that was stopped can be run again. The exit status is 1 if an
    id is in use by another stream.
    """
    from midstream.operate.archive.importer import Importer  # noqa: PLC0415 - it needs the extra `server`

    async def run(redis: "Redis", settings: "Settings") -> int:
        with _opened(path, os.O_RDONLY) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            bounds = _bounds(settings, await _now_ms(redis))
            importer = Importer(redis, settings.key_prefix, bounds, lambda at: echo_progress(at, size_bytes, "bytes"))
            heading = await importer.check(file, tenant)
            if only_check:
                echo("the archive is whole")
                return 0
            await importer.adopt_secret(heading, any_secret=any_secret)
            await _note(redis, settings, "import", tenant=tenant)
            result = await importer.run(file)
        if as_json:
            echo_json(asdict(result))
        else:
            echo(
                f"{result.streams} streams imported, {result.entries} entries; {result.there} were there already, "
                f"{result.expired} have expired"
            )
        for name, there in result.conflicts.items():
            echo(f"conflict: {harmless_line(name)} is in use ({there})", err=True)
        return 1 if result.conflicts else 0

    _at_redis(run)


def _at_redis(run: Callable[["Redis", "Settings"], Awaitable[int]]) -> None:
    """Run something with a client of the log's server, and exit with the status that it returns."""
    from midstream.cli.server_kind import check_server  # noqa: PLC0415
    from midstream.cli.setup import load_settings  # noqa: PLC0415
    from midstream.log.connect import connect  # noqa: PLC0415
    from midstream.log.errors import LogFull, LogUnavailable  # noqa: PLC0415
    from midstream.operate.archive.archive_lines import ArchiveError  # noqa: PLC0415

    settings = load_settings(listens=False)
    check_server(settings)

    async def connected() -> int:
        redis = connect(settings.redis_address, settings.redis_timeout_s, CONNECTIONS)
        try:
            return await run(redis, settings)
        finally:
            await redis.aclose(close_connection_pool=True)

    try:
        sys.exit(asyncio.run(connected()))
    except ArchiveError as error:
        _fail(error.code, error.detail)
    except LogUnavailable as error:
        _fail("log_full" if isinstance(error, LogFull) else "log_unavailable", str(error))
    except KeyboardInterrupt:
        _fail("stopped", "The same command goes on from here.")


async def _note(redis: "Redis", settings: "Settings", act: str, **facts: Any) -> None:
    """Add a row to the audit of operators' acts; a full server takes none, and what is on it may be exported still."""
    from midstream.log.errors import LogFull  # noqa: PLC0415
    from midstream.log.trail import Trail  # noqa: PLC0415

    by = {"user": _system_user(), "address": socket.gethostname()}
    row = {"act": act, "result": "begun"} | {name: value for name, value in facts.items() if value} | {"by": by}
    with suppress(LogFull):
        await Trail(redis, settings.key_prefix).add(row, settings.audit_entries)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def _fail(code: str, detail: str) -> None:
    echo(f"error {code}: {harmless_line(detail)}", err=True)
    sys.exit(1)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[BinaryIO]:
    """Open a file, and keep other exports from it while it is written; one that is made now is its owner's alone."""
    try:
        descriptor = os.open(path, flags, PRIVATE_FILE)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    is_written = bool(flags & os.O_RDWR)
    with os.fdopen(descriptor, "r+b" if is_written else "rb") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if is_written else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.UsageError(f"{path} is in use by another export or import.") from None
        yield file


def _bounds(settings: "Settings", now_ms: int = 10**15) -> Any:
    from midstream.operate.archive.archive_lines import Bounds  # noqa: PLC0415

    return Bounds(
        line_bytes=settings.archive_line_bytes,
        all_bytes=settings.archive_bytes,
        stream_entries=settings.stream_entries,
        stream_bytes=settings.max_output_bytes,
        now_ms=now_ms,
    )


async def _now_ms(redis: "Redis") -> int:
    from midstream.log.redis_errors import log_errors  # noqa: PLC0415

    with log_errors:
        seconds, microseconds = await redis.time()
    return int(seconds) * 1_000 + int(microseconds) // 1_000


COMMANDS: Final = (export_streams, import_streams)
