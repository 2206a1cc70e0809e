"""Brings the streams of an archive in (PROTOCOL: Archive/Import)."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from redis.asyncio import Redis

from midstream.access.grant import owner_of
from midstream.log.installation import installation_secret, kept_secret
from midstream.log.whole import WholeStreams
from midstream.operate.archive.archive_file import ArchiveReader, Begun, Closed, Logged
from midstream.operate.archive.archive_lines import ArchiveError, Bounds, Heading, secret_digest
from midstream.operate.archive.exporter import digest_of
from midstream.operate.archive.stream_check import StreamCheck

SAME: Final = "the same"


@dataclass(slots=True)
class Imported:
    """What became of an archive's streams.

    Attributes:
        streams: Streams that were brought in.
        entries: Their entries.
        there: Streams that were there already, with the same content.
        expired: Streams whose retention is over.
        conflicts: Names of streams whose id is in use by another content, with what is there.
    """

    streams: int = 0
    entries: int = 0
    there: int = 0
    expired: int = 0
    conflicts: dict[str, str] = field(default_factory=dict)


class Importer:
    """Brings streams in to one installation.

    Args:
        redis: The server.
        prefix: The first part of every key.
        bounds: What an archive may hold.
        progress: Called with how many bytes of the file are done, after each part of it.
    """

    def __init__(self, redis: Redis, prefix: str, bounds: Bounds, progress: Callable[[int], None]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._streams = WholeStreams(redis, prefix)
        self._bounds = bounds
        self._progress = progress

    async def check(self, file: BinaryIO, tenant: str) -> Heading:
        """Read the whole archive and return its heading; nothing is written.

        Raises:
            ArchiveError: It cannot be imported, or holds a stream of another tenant than this; empty: any tenant's.
        """
        reader = self._reader(file)
        for part in reader.parts():
            if isinstance(part, Begun) and tenant not in ("", part.check.state.tenant):
                name = part.check.whole.name
                raise ArchiveError("foreign_tenant", f"The stream {name} is not of the tenant {tenant}.")
        assert reader.heading is not None  # noqa: S101 - a whole archive has one
        return reader.heading

    async def adopt_secret(self, heading: Heading, *, any_secret: bool) -> None:
        """Take the archive's secret over where the installation has none, so that idempotency keys find their streams.

        Raises:
            ArchiveError: The installation has another secret, or none and the archive neither has its own with it.
        """
        kept = (await kept_secret(self._redis, self._prefix)).decode()
        if not kept and heading.secret:
            kept = (await installation_secret(self._redis, self._prefix, heading.secret.encode())).decode()
        if secret_digest(kept) != heading.secret_digest and not any_secret:
            raise ArchiveError(
                "other_secret",
                "The installation has another secret than the one that was exported: idempotency keys and chats would "
                "not find the streams, and would pay again. With --any-secret they are imported all the same.",
            )

    async def run(self, file: BinaryIO) -> Imported:
        """Bring in every stream that is not there; one at a time, each as a whole.

        Raises:
            ArchiveError: The file has changed since it was checked.
            LogUnavailable: Redis does not answer. What was brought in stays, and the same call goes on.
        """
        result = Imported()
        reader = self._reader(file)
        is_new, done_bytes = False, 0
        for part in reader.parts():
            match part:
                case Begun(check):
                    is_new = await self._is_absent(check.whole.name)
                case Logged(check, rows):
                    if is_new:
                        await self._streams.stage(check.whole.name, rows)
                case Closed(check, digest):
                    await self._close(check, digest, result, is_new=is_new)
            if reader.whole.size_bytes > done_bytes:
                done_bytes = reader.whole.size_bytes
                self._progress(done_bytes)
        self._progress(reader.whole.size_bytes)
        return result

    async def _is_absent(self, name: str) -> bool:
        with contextlib.suppress(UnicodeDecodeError):
            return await self._streams.state(name) is None
        return False

    async def _close(self, check: StreamCheck, digest: str, result: Imported, *, is_new: bool) -> None:
        name, state = check.whole.name, check.state
        if is_new:
            adopted = await self._streams.adopt(
                check.whole, check.entries, state.tenant, owner_of(state.tenant, state.user)
            )
            if adopted == "ok":
                result.streams += 1
                result.entries += check.entries
                return
            await self._streams.unstage(name)
            if adopted == "expired":
                result.expired += 1
                return
        if (there := await self._what_is_there(name, digest)) == SAME:
            result.there += 1
        else:
            result.conflicts[name] = there

    async def _what_is_there(self, name: str, digest: str) -> str:
        """Return `SAME`, or what is there instead of the stream with this digest."""
        with contextlib.suppress(UnicodeDecodeError):
            whole = await self._streams.state(name)
            status = "expired" if whole is None else whole.fields.get("status", "")
            if status != "ended" or whole is None:
                return status
            if await digest_of(self._streams, whole) == digest:
                return SAME
        return "another content"

    def _reader(self, file: BinaryIO) -> ArchiveReader:
        file.seek(0)
        return ArchiveReader(file, self._bounds)
