"""The limit of open files is raised as far as it goes, and told where it is near. PROTOCOL: Read/Files."""

import asyncio
import contextlib
import os
import sys

from midstream.cli.setup import listen
from midstream.settings import Settings

SOFT, HARD = 64, 160
CONNECTIONS = 140


async def test_the_limit_is_raised_and_told_where_it_is_near(settings: Settings) -> None:
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
        writers: list[asyncio.StreamWriter] = []
        try:
            for _ in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writers.append(writer)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                async with asyncio.timeout(20):
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            assert broker.stderr
            async with asyncio.timeout(10):
                while b"files are open of at most 160" not in await broker.stderr.readline():
                    pass
        finally:
            for writer in writers:
                writer.transport.abort()
            broker.terminate()
            await broker.communicate()
