"""PROTOCOL: Ends: what a receiver is sent, and what becomes of what it does not take."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from midstream import file_watch
from midstream.cli.main import main
from midstream.ends import deliverer, webhooks
from midstream.log.entries import END, Entry, encode
from midstream.log.log import Log
from midstream.log.values import Ending, Fence, NewStream
from midstream.metrics.page import Page
from midstream.settings import Settings
from tests import inside
from tests.contract.receivers import OK, OLD_SECRET, SECRET, Receiver, receiver, webhooks_file

COUNT = {"model": "demo/count", "input": "count", "params": {"words": 3}}
REDIRECT = b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "LOOK_S", 0.02)
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    async with receiver() as each:
        yield each


@pytest.fixture
def file(tmp_path: Path, sink: Receiver) -> Path:
    return webhooks_file(tmp_path / "webhooks.toml", ("default", sink.url))


@pytest.fixture
def settings(settings: Settings, file: Path) -> Settings:
    quick = {"webhook_timeout_s": 0.5, "end_retry_ms": 20, "end_retry_most_s": 0.1}
    return settings.model_copy(update={"webhooks_file": file, **quick})


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


def spoil(file: Path) -> None:
    file.write_text("[[webhooks]]\nurl = 1")


async def started(client: httpx2.AsyncClient, **fields: object) -> str:
    stream_id: str = (await client.post("/v1/streams", json=COUNT | fields)).json()["id"]
    return stream_id


async def test_a_receiver_is_sent_a_signed_end(client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Webhook, Ends/Signature."""
    stream_id = await started(client, thread="t1", metadata={"order": "7"}, user="ann")
    (request,) = await sink.until(1)
    request.verify()
    assert request.headers["webhook-id"] == stream_id
    assert request.headers["content-type"] == "application/json"
    data = request.data
    ended = (await client.get(f"/v1/streams/{stream_id}")).json()
    assert (data["id"], data["tenant"], data["user"], data["thread"]) == (stream_id, "default", "ann", "t1")
    assert (data["metadata"], data["outcome"], data["code"]) == ({"order": "7"}, "completed", None)
    assert {name: data[name] for name in ("usage", "cost", "timings", "ended_ms", "model")} == {
        name: ended[name] for name in ("usage", "cost", "timings", "ended_ms", "model")
    }
    assert "text" not in data


async def test_a_start_that_is_repeated_sends_no_end_again(client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Outbox: once for each stream."""
    keyed = {"Idempotency-Key": "k"}
    first = await client.post("/v1/streams", json=COUNT, headers=keyed)
    await sink.until(1)
    repeated = await client.post("/v1/streams", json=COUNT, headers=keyed)
    assert (repeated.status_code, repeated.json()["id"]) == (200, first.json()["id"])
    last = await started(client)
    await sink.until(2)
    assert sink.ids == [first.json()["id"], last]


async def test_no_end_of_an_erased_user_is_sent(client: httpx2.AsyncClient, sink: Receiver, redis: Redis) -> None:
    """Delete/User, Ends/Deleted: not even that of a stream that had expired before."""
    sink.decide = lambda request: FAILED if request.data["user"] == "ann" else OK
    stream_id = await started(client, user="ann")
    await sink.until(1)
    await redis.delete(f"ms:{{{stream_id}}}:state", f"ms:{{{stream_id}}}:log")
    await client.delete("/v1/users/ann")
    assert not [key async for key in redis.scan_iter("*:notice")]
    assert await redis.zcard("ms:index:default") == 0


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def pour(writer: asyncio.StreamWriter) -> None:
    """Say yes, and then never stop to talk."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()


async def test_what_is_not_taken_is_sent_again(client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Taken: no redirect is followed, and an answer without end is no failure once its status has come."""
    sink.answers = [FAILED, REDIRECT, close, hang, pour]
    stream_id = await started(client)
    await sink.until(5)
    later = await started(client)
    requests = await sink.until(6)
    assert sink.ids == [stream_id] * 5 + [later]
    assert {request.headers["webhook-id"] for request in requests[:5]} == {stream_id}
    assert {request.path for request in requests} == {"/ends?key=of-the-url"}
    for request in requests:
        request.verify()


async def test_a_receiver_can_refuse_an_end_for_good(client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Taken: the next end of its thread follows."""
    sink.answers = [GONE]
    first, second = await started(client, thread="t"), await started(client, thread="t")
    await sink.until(2)
    assert sorted(sink.ids) == sorted([first, second])


async def test_a_failing_end_holds_back_its_own_thread_alone(client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Order."""
    is_open = False
    sink.decide = lambda request: FAILED if request.data["thread"] == "a" and not is_open else OK
    ids = []
    for thread in ("a", "a", "b", "b"):
        ids.append(await started(client, thread=thread))
        await client.get(f"/v1/streams/{ids[-1]}", params={"wait": 10})
    async with asyncio.timeout(10):
        while sink.ids.count(ids[0]) < 4 or ids[3] not in sink.ids:
            await asyncio.sleep(0.01)
    assert ids[1] not in sink.ids  # it is not even tried
    is_open = True
    async with asyncio.timeout(10):
        while ids[1] not in sink.ids:
            await asyncio.sleep(0.01)
    assert [each for each in sink.ids if each in ids[2:]] == ids[2:]


async def test_two_brokers_share_the_ends(settings: Settings, client: httpx2.AsyncClient, sink: Receiver) -> None:
    """Ends/Order: a claim keeps the other one off."""
    async with inside.broker(settings):
        ids = [await started(client, thread=f"t{number % 3}") for number in range(12)]
        await sink.until(12)
    assert sorted(sink.ids) == sorted(ids)


async def test_secrets_rotate_and_the_file_is_read_again(
    client: httpx2.AsyncClient, sink: Receiver, file: Path
) -> None:
    """Ends/Signature, Ends/Webhook file: a file that cannot be used changes nothing."""
    spoil(file)
    await started(client)
    (request,) = await sink.until(1)
    request.verify()
    webhooks_file(file, ("default", sink.url), secrets=(SECRET, OLD_SECRET))
    async with asyncio.timeout(10):
        while b" " not in sink.requests[-1].headers["webhook-signature"].encode():
            await started(client)
            await sink.until(len(sink.requests) + 1)
    for secret in (SECRET, OLD_SECRET):
        sink.requests[-1].verify(secret)


@pytest.mark.parametrize(("most", "text"), [(1_000, "one two three "), (4, None)])
async def test_the_text_is_sent_where_the_file_says_so(
    settings: Settings, file: Path, sink: Receiver, most: int, text: str | None
) -> None:
    """Ends/Webhook: of a longer text, nothing."""
    webhooks_file(file, ("*", sink.url), text=True)
    own = settings.model_copy(update={"webhook_text_bytes": most})
    async with inside.worker(own), inside.broker(own) as client:
        stream_id = await started(client)
        (request,) = await sink.until(1)
        output = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 1})).json()["output"]
        assert request.data["text"] == (output["text"] if text else None)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("webhooks = 1", "other tables"),
        ("[[webhooks]]\nurl", "not TOML"),
        ('[[webhooks]]\ntenant = "a b"', "`tenant` is"),
        ('[[webhooks]]\ntenant = "a"\nurl = "ftp://host-of-a-secret"', "`url` begins with"),
        ('[[webhooks]]\ntenant = "a"\nurl = "http://host-of-a-secret"\nsecrets = ["whsec_short"]', "`secrets` is"),
        ('[[webhooks]]\ntenant = "a"\nurls = 1', "no field is called urls"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, words: str) -> None:
    """Ends/Webhook file: at the start, without its secrets."""
    path = tmp_path / "webhooks.toml"
    path.write_text(rows)
    monkeypatch.setenv("MIDSTREAM_WEBHOOKS_FILE", str(path))
    done = CliRunner().invoke(main, ["config"])
    assert done.exit_code == 2
    assert "MIDSTREAM_WEBHOOKS_FILE" in done.output
    assert words in done.output
    assert "whsec" not in done.output.replace("each `whsec_`", "")
    assert "secret" not in done.output.replace("`secrets` is", "")


async def test_an_operator_sees_what_was_given_up_and_sends_it_again(settings: Settings, sink: Receiver) -> None:
    """Ends/Abandoned, Ends/Seen."""
    own = settings.model_copy(update={"end_give_up_s": 0})
    sink.decide = lambda _: FAILED
    async with inside.worker(own), inside.broker(own) as client:
        stream_id = await started(client)
        async with asyncio.timeout(10):
            while not (row := (await client.get("/v1/operate/outlets")).json()["data"][0])["abandoned"]:
                await asyncio.sleep(0.02)
        assert (row["tenant"], row["host"], row["waiting"], row["lost"]) == ("default", "127.0.0.1", 0, 0)
        path = f"/v1/operate/outlets/{row['name']}"
        (seen,) = (await client.get(path)).json()["abandoned_streams"]
        assert (seen["tenant"], seen["id"]) == ("default", stream_id)

        command = ["outlets", row["name"], "--send-again", "--url", str(client.base_url)]
        refused = await asyncio.to_thread(CliRunner().invoke, main, command)
        assert (refused.exit_code, "--yes" in refused.output) == (2, True)
        sink.decide = lambda _: OK
        done = await asyncio.to_thread(CliRunner().invoke, main, [*command, "--yes"])
        assert (done.exit_code, done.output) == (0, "ends that are sent again: 1\n")
        await sink.until(2)
        assert sink.ids == [stream_id] * 2
        (act,) = (await client.get("/v1/operate/audit")).json()["data"]
        assert (act["act"], act["outlet"], act["count"]) == ("send_again", row["name"], 1)
        table = await asyncio.to_thread(CliRunner().invoke, main, ["outlets", "--url", str(client.base_url)])
        assert row["name"] in table.output
        absent = await client.get("/v1/operate/outlets/none")
        assert (absent.status_code, absent.json()["code"]) == (404, "outlet_not_found")


async def test_a_receiver_that_hangs_delays_no_other_one(settings: Settings, file: Path, sink: Receiver) -> None:
    """Ends/Order: each receiver has deliveries of its own."""
    async with receiver() as stuck:
        stuck.decide = lambda _: hang
        webhooks_file(file, ("*", stuck.url), ("default", sink.url))
        own = settings.model_copy(update={"webhook_timeout_s": 30, "end_deliveries": 1})
        async with inside.worker(own), inside.broker(own) as client:
            ids = [await started(client) for _ in range(4)]
            await sink.until(4, wait_s=5)
        assert sorted(sink.ids) == sorted(ids)
        assert len(stuck.requests) == 1


async def test_metrics_tell_how_long_ends_have_waited(settings: Settings, redis: Redis, sink: Receiver) -> None:
    """Ends/Abandoned, Metrics/Names: before that an end waits, and it is seen for how long."""
    sink.decide = lambda _: FAILED
    log = Log(redis, "ms")
    sender = webhooks.Webhooks(redis, log, settings)
    await sender.start()
    new = NewStream(digest="d", tenant="default", model="m", ttl_s=60, request=b"{}")
    await log.create("1", new, look_in_ms=5_000)
    end = encode(Entry(END, {"outcome": "failed", "error": {"code": "internal", "message": "m"}}))
    await log.seal("1", Fence.of_reaper(0), 0, Ending([end], "failed"))
    await sink.until(3)
    page = Page("broker").text(sender.readings()).decode()
    await sender.stop()
    assert sink.requests[0].data["code"] == "internal"
    assert 'midstream_ends_waiting{kind="webhook"} 1.0' in page
    (age_s,) = re.findall(r'midstream_ends_oldest_waiting_seconds\{kind="webhook"\} (\S+)', page)
    assert 0 < float(age_s) < 15
    assert re.search(r'midstream_end_deliveries_total\{kind="webhook",result="failed"\} [1-9]', page)
