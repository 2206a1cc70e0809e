"""The limit of open files is raised as far as it goes, and connections stay below it. PROTOCOL: Read/Files."""

import asyncio
import contextlib
import os
import sys

from midstream.cli.setup import listen
from midstream.settings import Settings

SOFT, HARD = 64, 160
TAKEN = HARD // 2
CONNECTIONS = 140
ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


async def test_more_connections_than_files_leave_the_broker_alive(settings: Settings) -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        command = (sys.executable, "-m", "midstream.cli", "broker", "--fd", str(listener.fileno()))
        broker = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            f'ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec "$@"',
            "limited",
            *command,
            env={**os.environ, "MIDSTREAM_REDIS_URL": settings.redis_url.get_secret_value()},
            pass_fds=(listener.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
        clients: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            for number in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                clients.append((reader, writer))
                writer.write(ASK + (b"\r\n" if number < TAKEN // 2 else b""))
                if number < TAKEN // 2:
                    async with asyncio.timeout(20):
                        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            assert broker.stderr
            async with asyncio.timeout(10):
                while f"are open of at most {TAKEN} (MIDSTREAM_MAX_CONNECTIONS)" not in str(
                    await broker.stderr.readline()
                ):
                    pass
            while True:  # until the first strangers have waited for a second
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                clients.append((reader, writer))
                writer.write(ASK + b"\r\n")
                async with asyncio.timeout(10):
                    if (await reader.readline()).startswith(b"HTTP/1.1 200"):
                        break
                await asyncio.sleep(0.1)
        finally:
            for _, writer in clients:
                writer.transport.abort()
            broker.terminate()
            await broker.communicate()
