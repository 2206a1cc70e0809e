"""What is left of a thread whose streams expire, by keys that really do (PROTOCOL: Threads/Lists, Retention)."""

import asyncio
from pathlib import Path

import httpx2
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.log.keys import Keys
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, bearer, served, started
from tests.contract.continued_starts import sent_by, with_apps
from tests.contract.thread_tails import Tail, followed, replay

BRIEF = {"ttl_s": 1}


async def expired(redis: Redis, *stream_ids: str) -> None:
    """Wait until Redis has forgotten these streams; nothing is published when a key expires."""
    keys = Keys("ms")
    async with asyncio.timeout(10):
        while await redis.exists(*(keys.state(f"acme/{each}") for each in stream_ids)):
            await asyncio.sleep(0.05)


async def titles(client: httpx2.AsyncClient) -> list[tuple[str, str]]:
    rows = (await client.get("/v1/threads", headers=ADMIN)).json()["data"]
    return [(row["id"], row["last_stream"]) for row in rows]


async def test_what_has_expired_is_in_no_list_no_message_no_tail_and_no_prompt(
    settings: Settings, redis: Redis
) -> None:
    """Threads/List, Threads/Messages, Threads/Events, Threads/Continue, Threads/Delete."""
    async with served(with_apps(settings, heartbeat_ms=100)) as client:
        kept = await started(client, ADMIN, thread="t", input="kept")
        first = await replay(client)
        brief = [await started(client, ADMIN, thread=thread, input="gone", **BRIEF) for thread in ("t", "t", "u")]
        async with followed(client, f"{brief[0]}.end") as response:
            tail = Tail(response)
            assert [event[0] for event in await tail.until("stream_ended")][-1] == f"{brief[1]}.end"
            await expired(redis, *brief)
            assert await titles(client) == [("t", kept)]
            thread = (await client.get("/v1/threads/t", headers=ADMIN)).json()
            assert {each["stream_id"] for each in thread["data"]} == {kept} == {row["id"] for row in thread["streams"]}
            assert await replay(client) == first == (await replay(client, f"{brief[0]}.2"))[1:]
            assert await replay(client, f"{kept}.1") == first[2:]
            for path in ("/v1/threads/u", "/v1/threads/u/events"):
                assert (await client.get(path, headers=ADMIN)).json()["code"] == "thread_not_found"
            assert (await client.delete("/v1/threads/u", headers=ADMIN)).status_code == 404
            next_id, sent = await sent_by(client, {})
            assert [message["content"] for message in sent][0::2] == ["kept", "and now?"]
            assert next(event[0] for event in await tail.until("stream_ended")) == f"{next_id}.0"


async def test_a_stream_that_is_kept_longer_stays_in_its_thread(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Retention/Change, Threads/Lists."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "ops"\nsha256 = "{digest("ops")}"\ntenant = "admin"\nscopes = ["operate"]\n')
    async with served(settings, completed_retention_s=60, keys_file=path) as client:
        for user in (None, "ada"):
            stream_id = await started(client, ADMIN, thread="t", user=user)
            url = f"/v1/operate/streams/acme/{stream_id}/retain"
            kept = await client.post(url, json={"ttl_s": 10_000_000}, headers=bearer("ops"))
            assert kept.status_code == 200, kept.text
        lists = await redis.keys("ms:thread*")
        assert len(lists) == 4, "of the tenant and of Ada"
        for key in lists:
            assert await redis.ttl(key) > 9_000_000, key
