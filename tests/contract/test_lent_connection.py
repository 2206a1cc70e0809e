"""Connections that a tail has taken over, in ways that few clients use. PROTOCOL: Read/Next, Read/Bare."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside
from tests.contract.long_answers import LONG, with_long
from tests.contract.raw_connections import (
    COUNT,
    begun,
    next_answer,
    open_connection,
    tail_request,
    until_no_tails,
)

pytestmark = pytest.mark.both_ways

BODY = b"not asked for"
TIMEOUT_MS = 500
READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.mark.parametrize("late", ["while it is answered", "after it is answered"])
async def test_a_request_whose_body_comes_late_spoils_no_answer(client: httpx2.AsyncClient, late: str) -> None:
    """Read/Next."""
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id, f"Content-Length: {len(BODY)}\r\n"))
    answer = await reader.readuntil(b"id: 2\n")
    if late == "while it is answered":
        writer.write(BODY[:3])
        await asyncio.sleep(0.05)
        writer.write(BODY[3:] + READY)
        answer += await reader.readuntil(b"0\r\n\r\n")
    else:
        answer += await reader.readuntil(b"0\r\n\r\n")
        writer.write(BODY + READY)
    assert answer.count(b"event: end") == 1
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_a_client_that_waits_to_send_its_body_is_answered(client: httpx2.AsyncClient) -> None:
    """Read/Next."""
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id, f"Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n"))
    head, body = await next_answer(reader)
    assert head.startswith(b"HTTP/1.1 200 OK")  # it need not send the body at all
    assert body.count(b"event: end") == 1
    writer.close()


async def test_a_request_sent_ahead_by_http_1_0_brings_no_chunks(client: httpx2.AsyncClient) -> None:
    """Read/Bare."""
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id).replace(b"HTTP/1.1", b"HTTP/1.0") * 2)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == (await client.get(f"/v1/streams/{stream_id}/events")).content
    writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate that it has signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=midstream"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    return key, certificate


@pytest.fixture
async def secure(settings: Settings, certificate: tuple[Path, Path]) -> AsyncIterator[httpx2.AsyncClient]:
    quick = with_long(settings, send_timeout_ms=TIMEOUT_MS)
    key, public = certificate
    async with inside.worker(quick), inside.broker(quick, ssl_keyfile=key, ssl_certfile=public) as client:
        yield client


async def test_tails_over_tls_end_and_give_their_connection_back(
    secure: httpx2.AsyncClient, certificate: tuple[Path, Path]
) -> None:
    """Read/Next."""
    stream_id = await begun(secure, COUNT)
    reader, writer = await open_connection(secure, ssl=ssl.create_default_context(cafile=certificate[1]))
    for _ in range(2):  # while it is written, and once more from the log
        writer.write(tail_request(stream_id))
        assert (await next_answer(reader))[1].count(b"event: end") == 1
    await asyncio.sleep(2 * TIMEOUT_MS / 1_000)  # a connection that is still lent would be cut
    writer.write(READY)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    await writer.wait_closed()


async def test_a_client_by_tls_that_lags_gets_all_and_one_that_never_reads_is_cut(
    secure: httpx2.AsyncClient, certificate: tuple[Path, Path]
) -> None:
    """Read/Left."""
    stream_id = await begun(secure, LONG)
    longer_id = await begun(secure, LONG | {"params": {"parts": 1_600}})  # TLS keeps 800 kB more for a client
    context = ssl.create_default_context(cafile=certificate[1])
    reader, writer = await open_connection(secure, ssl=context, limit=4_096)
    deaf = socket.create_connection((secure.base_url.host, secure.base_url.port))  # its handshake needs some room
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf_reader, deaf_writer = await asyncio.open_connection(
        sock=deaf, ssl=context, server_hostname=secure.base_url.host, limit=4_096
    )
    deaf_writer.write(tail_request(longer_id))
    writer.write(tail_request(stream_id))
    await secure.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    _, body = await next_answer(reader)
    ids = [int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(1, len(ids) + 1))
    await secure.get(f"/v1/streams/{longer_id}", params={"wait": 10})
    await until_no_tails(secure, longer_id)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_048_576)  # what is left comes at once, not in crumbs
    received = b""
    with suppress(ConnectionError, ssl.SSLError):
        while part := await deaf_reader.read(65_536):
            received += part
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"event: end" not in received
    for each in (writer, deaf_writer):
        each.transport.abort()
