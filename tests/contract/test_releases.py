"""What earlier releases have left on the server is read, and what they began goes on (PROTOCOL: State/Keys).

`scripts/release_data` stores it for each release; `tests/data/releases` also has that of an early commit.
"""

import math
import re
import tomllib
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.settings import Settings
from tests import inside
from tests.stored_release import (
    FOLDER,
    KEY,
    SLOW,
    STARTS,
    bring_back,
    frames_of,
    idempotency_key,
    stored_release,
)

ROOT = Path(__file__).parents[2]
RELEASES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings of the same tenant, under which nothing is too old to be run."""
    return settings.model_copy(update={"api_keys": SecretStr("alpha:acme"), "outdated_after_s": math.inf})


def test_each_release_is_stored() -> None:
    """A release that is made needs `scripts/release_data VERSION`."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## \[(\d[\w.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {version, *released} == {name for name in RELEASES if not name.startswith("commit-")}
    assert [name for name in RELEASES if name.startswith("commit-")], "one that is older than the first release"


@pytest.mark.leaves_live
@pytest.mark.parametrize("name", RELEASES)
async def test_what_a_release_has_left_is_read_at_every_door(settings: Settings, redis: Redis, name: str) -> None:
    """Read/Events, Read/After, Create/Idempotent, Chat/Resume, Delete/Tombstone."""
    release = stored_release(name)
    await bring_back(redis, release)
    streams, events = release["streams"], release["events"]
    async with inside.broker(settings) as client:
        client.headers |= KEY
        for of in (*STARTS, "cancelled"):
            path = f"/v1/streams/{streams[of]}"
            assert frames_of((await client.get(f"{path}/events")).text) == events[of], of
            for after in (1, len(events[of]) // 2):
                cursor = {"Last-Event-ID": str(after)}
                assert frames_of((await client.get(f"{path}/events", headers=cursor)).text) == events[of][after:], of
            state = (await client.get(path)).json()
            assert state["outcome"] == ("cancelled" if of == "cancelled" else "completed")
            page = (await client.get(f"{path}/entries", params={"after": 1, "limit": 2})).json()
            assert [entry["offset"] for entry in page["data"]] == [2, 3]
        await _finds_its_streams(client, streams)
        for path, body in STARTS.items():  # no worker: what is not found would never be answered
            if name.startswith("commit-") and path == "/api/chat":
                continue  # so early, a turn had another digest
            again = await client.post(path, json=body, headers=idempotency_key(path))
            assert (again.status_code, again.headers["stream-id"]) == (200, streams[path]), again.text
        gone = await client.post("/v1/streams", json=SLOW, headers=idempotency_key("deleted"))
        assert (gone.status_code, gone.json()["code"]) == (410, "stream_deleted")


async def _finds_its_streams(client: httpx2.AsyncClient, streams: dict[str, str]) -> None:
    listed = {row["id"] for row in (await client.get("/v1/streams")).json()["data"]}
    assert listed == {stream_id for of, stream_id in streams.items() if of != "deleted"}
    of_thread = (await client.get("/v1/streams", params={"thread": "t"})).json()["data"]
    assert [row["id"] for row in of_thread] == [streams["/v1/streams"]]
    response = (await client.get(f"/v1/responses/resp_{streams['/v1/responses']}")).json()
    assert (response["status"], response["object"]) == ("completed", "response")
    chat = await client.get("/api/chat/c/stream", headers={"Last-Event-ID": f"{streams['/api/chat'][:8]}.3"})
    assert '"type":"finish"' in chat.text
    assert (await client.get(f"/v1/streams/{streams['deleted']}")).status_code == 404


@pytest.mark.parametrize("name", RELEASES)
async def test_what_a_release_has_begun_goes_on_to_a_truthful_end(settings: Settings, redis: Redis, name: str) -> None:
    """I3, Recovery/Verdict: its worker is lost, and what it had queued is run."""
    release = stored_release(name)
    await bring_back(redis, release)
    streams = release["streams"]
    async with inside.broker(settings) as client, inside.worker(settings):
        client.headers |= KEY
        running, queued = [
            (await client.get(f"/v1/streams/{streams[of]}", params={"wait": 15})).json() for of in ("running", "queued")
        ]
        events = (await client.get(f"/v1/streams/{streams['running']}/events")).text
    assert (running["outcome"], running["error"]["code"]) == ("interrupted", "worker_lost")
    assert frames_of(events)[:-1] == release["events"]["running"]
    assert queued["outcome"] == "completed"
