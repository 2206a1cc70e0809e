"""A TCP proxy in front of Redis, or of a broker, that knows where one command ends and breaks off at a chosen one."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Literal, Protocol, Self

from midstream.log.calls import SOURCES

Command = list[bytes]
Action = Literal["hold", "hold_reply", "drop_reply", "cut", "late"]

SCRIPT_OF = {sha1(source.encode(), usedforsecurity=False).hexdigest(): name for name, source in SOURCES.items()}
CHUNK = 65_536


@dataclass
class Rule:
    """What becomes of a command.

    `hold`: it never leaves. `hold_reply`: it takes effect, and the answer never comes. `drop_reply`: it takes
    effect, and the connection breaks instead of an answer. `cut`: the connection breaks instead of the command. `late`:
    it waits for `go`, while what was sent before it takes effect.

    Attributes:
        matches: Whether the command is meant.
        nth: How many matching commands it takes, counted from 1.
        once: Whether later ones pass; a hold that is not `once` also holds repetitions.
        reached: Set when the command has come, and, where it is answered, has taken effect.
        go: Set by the test, to let a command that is `late` go on.
    """

    matches: Callable[[Command], bool]
    action: Action
    nth: int = 1
    once: bool = True
    seen: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, command: Command) -> bool:
        """Count the command if it matches, and tell whether it is the one."""
        if (self.once and self.seen >= self.nth) or not self.matches(command):
            return False
        self.seen += 1
        return self.seen >= self.nth


def runs(script: str, stream_id: str, *words: bytes) -> Callable[[Command], bool]:
    """Return a rule's condition: the log's script of this name on this stream, with these words among its arguments."""
    key = f"{{{stream_id}}}".encode()

    def matches(command: Command) -> bool:
        if len(command) < 4 or command[0].upper() != b"EVALSHA" or SCRIPT_OF.get(command[1].decode()) != script:
            return False
        return key in command[3] and all(word in command for word in words)

    return matches


class Commands:
    """Cuts a byte stream into Redis commands."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, Command]]:
        """Take bytes; return each command that is complete, as bytes and as words."""
        self._buffer += data
        commands: list[tuple[bytes, Command]] = []
        start = 0
        while (parsed := self._parse(start)) is not None:
            end, command = parsed
            commands.append((bytes(self._buffer[start:end]), command))
            start = end
        del self._buffer[:start]
        return commands

    def _parse(self, at: int) -> tuple[int, Command] | None:
        head = self._line(at, b"*")
        if head is None:
            return None
        at, count = head
        command = []
        for _ in range(count):
            head = self._line(at, b"$")
            if head is None or len(self._buffer) < head[0] + head[1] + 2:
                return None
            at = head[0] + head[1] + 2
            command.append(bytes(self._buffer[head[0] : head[0] + head[1]]))
        return at, command

    def _line(self, at: int, kind: bytes) -> tuple[int, int] | None:
        end = self._buffer.find(b"\r\n", at)
        if end < 0:
            return None
        assert self._buffer[at : at + 1] == kind, bytes(self._buffer[at : at + 40])
        return end + 2, int(self._buffer[at + 1 : end])


class Cutter(Protocol):
    """Cuts the byte stream of one connection into what a rule can be about."""

    def feed(self, data: bytes) -> list[tuple[bytes, Command]]:
        """Take bytes; return each command that is complete, as bytes and as words."""
        ...


class Proxy:
    """Forwards connections to `target_port`; closed at first, so that a process that starts after it has to wait.

    Attributes:
        port: Where it listens once it is open.
        rules: What to do with which command, for all connections.
        cutter: Makes what knows the protocol of a connection.
    """

    def __init__(self, port: int, target_port: int, cutter: Callable[[], Cutter] = Commands) -> None:
        self.port = port
        self.cutter = cutter
        self.rules: list[Rule] = []
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=CHUNK)
        return self

    async def close(self) -> None:
        """Listen no longer and break all connections."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def rule(self, matches: Callable[[Command], bool], action: Action, *, nth: int = 1, once: bool = True) -> Rule:
        """Add a rule and return it."""
        rule = Rule(matches, action, nth, once)
        self.rules.append(rule)
        return rule

    def lead_to(self, target_port: int) -> None:
        """Lead new connections to another port; those that there are stay where they are."""
        self._target_port = target_port

    def cut(self) -> None:
        """Break all connections."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def swallow(self) -> None:
        """Make all connections half-open: they stay, and nothing passes them any more. New ones work."""
        for link in self._links:
            link.deaf = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            link = _Link(self, reader, writer, their_reader, their_writer)
            self._writers |= {writer, their_writer}
            self._links.add(link)
            try:
                await link.run()
            finally:
                self._links.discard(link)
                self._writers -= {writer, their_writer}
                their_writer.transport.abort()
        writer.transport.abort()
        self._tasks.discard(task)


class _Link:
    """One forwarded connection."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        their_reader: asyncio.StreamReader,
        their_writer: asyncio.StreamWriter,
    ) -> None:
        self.deaf = False
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._their_reader, self._their_writer = their_reader, their_writer
        self._commands = proxy.cutter()
        self._broken: Rule | None = None  # the rule that keeps the answers back

    async def run(self) -> None:
        """Forward both ways until either side ends."""
        pumps = [asyncio.create_task(self._send()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _send(self) -> None:
        while data := await self._reader.read(CHUNK):
            if self.deaf:
                continue
            for raw, command in self._commands.feed(data):
                rule = next((rule for rule in self._proxy.rules if rule.takes(command)), None)
                if rule is None:
                    self._their_writer.write(raw)
                    continue
                if rule.action == "late":
                    await self._their_writer.drain()
                    rule.reached.set()
                    await rule.go.wait()
                    self._their_writer.write(raw)
                    continue
                if rule.action in ("hold", "cut"):
                    rule.reached.set()
                    if rule.action == "cut":
                        return
                else:
                    self._broken = rule
                    self._their_writer.write(raw)
                await self._silence()
                return
            await self._their_writer.drain()

    async def _silence(self) -> None:
        """Keep the connection, take whatever else is sent, pass nothing on."""
        while await self._reader.read(CHUNK):
            pass

    async def _answer(self) -> None:
        while data := await self._their_reader.read(CHUNK):
            if self.deaf:
                continue
            if self._broken is not None:
                self._broken.reached.set()
                if self._broken.action == "drop_reply":
                    return
                continue
            self._writer.write(data)
            await self._writer.drain()
