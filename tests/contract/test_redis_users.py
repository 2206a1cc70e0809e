"""PROTOCOL: Operation/Redis users: broker and worker work as users of the server that may do little else."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_sync
from pydantic import SecretStr
from redis.exceptions import AuthenticationError, NoPermissionError

from midstream.access.api_keys import digest
from midstream.log.calls import SOURCES
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.contract.receivers import webhooks_file
from tests.provider.client import ProviderServer
from tests.servers import SERVER_KINDS, ValkeyProcess, free_port
from tests.system import ROOT, System, stop

KEY, OPERATOR = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
USERS = (ROOT / "deploy/users.acl").read_text()
PASSWORDS = {"broker": secrets.token_urlsafe(24), "worker": secrets.token_urlsafe(24)}
ADMIN = "user admin on nopass ~* &* +@all\n"
SLOW = Script(words=40, delay_ms=20)
WAITAOF = "waitaof"
"""A command that Redis 7.0 does not know: it is allowed by its category, whose other commands need keys too."""
RARE = {
    "setex": "arq, where a job is to be tried again",
    "xtrim": "an operator who trims a log",
    "xrevrange": "an operator who reads the audit",
    "hlen": "a table of prices",
    "wait": "a worker or a producer whose server has replicas",
}
"""Commands that are allowed although a round does not need them, with their use."""

OF_IMPORTS = ("adopt", "stage")
"""Scripts that neither a broker nor a worker runs, but `midstream import`, as the user that the operator gives it."""


class Server(ValkeyProcess):
    """A server that deploy/valkey has started, with the users of deploy/users.acl and an administrator."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        for name, password in PASSWORDS.items():
            (directory / f"redis_{name}_password").write_text(password + "\n")
        (directory / "users.acl").write_text(USERS + ADMIN)
        environment = {
            "SERVER": SERVER_KINDS[kind],
            "SECRETS_DIR": str(directory),
            "USERS_FILE": str(directory / "users.acl"),
            "TMPDIR": str(directory),
        }
        super().__init__(directory, {}, str(ROOT / "deploy/valkey"), environment)

    def url_of(self, name: str) -> str:
        """Return the URL for a user; of nobody, if the name is empty."""
        return self.url.replace("//", f"//{name}:{PASSWORDS.get(name, 'any')}@") if name else self.url

    @contextmanager
    def client(self, name: str) -> Iterator[Any]:
        """Yield a client that is this user."""
        client = redis_sync.Redis.from_url(self.url_of(name))
        try:
            yield client
        finally:
            client.close()


@pytest.fixture(params=SERVER_KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with Server(request.param, tmp_path) as server:
        yield server


def allowed(name: str) -> set[str]:
    """Return the commands that a user may run; of a category, what is used of it."""
    (line,) = (line for line in USERS.splitlines() if line.startswith(f"user {name} "))
    return {WAITAOF if word == "+@blocking" else word[1:] for word in line.split() if word[0] == "+"}


async def test_a_whole_round_is_refused_nothing(server: Server, tmp_path: Path, provider: ProviderServer) -> None:
    """Operation/Redis users."""
    folder = tmp_path / "logs"
    folder.mkdir()
    operators = tmp_path / "keys.toml"
    row = f'[[keys]]\nname = "ops"\nsha256 = "{digest(OPERATOR)}"\ntenant = "ops"\nscopes = ["operate"]\n'
    operators.write_text(row)
    (folder / "hook.py").write_text("async def save(ended):\n    print(ended.id, flush=True)\n")
    nowhere = webhooks_file(tmp_path / "webhooks.toml", ("acme", f"http://127.0.0.1:{free_port()}"))
    outlets = {"on_end": "hook:save", "webhooks_file": nowhere, "end_give_up_s": 1}
    keys = {"api_keys": f"{KEY}:acme", "lease_ms": 1_000, "keys_file": operators, **outlets}
    system = System(
        server.url_of("broker"), folder, provider.url, broker_drain_ms=200, drain_s=0, demo_delay_ms=1, **keys
    )
    system.http.headers["Authorization"] = f"Bearer {KEY}"
    async with system:
        await start(system, server, "worker")
        await start(system, server, "broker")
        await streams_that_end(system)
        await streams_that_are_stopped(system)
        await other_endpoints(system)
        await what_operators_ask(system, "workers", "brokers", "queue", "redis", "stats", "outlets", "streams")
        await a_lost_worker_and_a_stopped_one(system, server)
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    with server.client("admin") as admin:
        refused = [f"{row['username']}: {row['reason']} {row['object']}" for row in admin.acl_log()]
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert refused == []
    assert "NOPERM" not in logs
    unused = (allowed("broker") | allowed("worker")) - used - RARE.keys()
    assert unused == ({WAITAOF} if server.kind == "redis" else set()), "listed, but not needed"


async def start(system: System, server: Server, kind: str) -> None:
    system.environment["MIDSTREAM_REDIS_URL"] = server.url_of(kind)
    await (system.start_worker() if kind == "worker" else system.start_broker())


async def streams_that_end(system: System) -> None:
    key = {"Idempotency-Key": "order-66"}
    body = {"model": "demo/story", "input": "x", "user": "alice", "thread": "t", "read_token": True}
    answers = [await system.http.post("/v1/streams", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    path = f"/v1/streams/{answers[0].json()['id']}"
    assert "event: end" in (await system.http.get(f"{path}/events")).text
    assert (await system.http.get(f"{path}/entries")).json()["data"]
    short_lived = await system.post(model="demo/count", input="x", ttl_s=1)
    await system.ended(short_lived)
    async with asyncio.timeout(10):
        while (await system.http.get(f"/v1/streams/{short_lived}")).status_code == 200:
            await asyncio.sleep(0.1)
    listed = (await system.http.get("/v1/streams")).json()["data"]
    assert [row["id"] for row in listed] == [answers[0].json()["id"]]
    assert (await system.http.post("/v1/tokens", json={"thread": "t"})).status_code == 201
    assert (await system.http.post("/v1/session")).status_code == 204
    system.http.cookies.clear()


async def streams_that_are_stopped(system: System) -> None:
    running = await system.post(model="demo/count", input="x", params={"words": 1_000, "delay_ms": 20})
    assert (await system.http.post(f"/v1/streams/{running}/cancel")).status_code == 202
    assert (await system.ended(running))["outcome"] == "cancelled"
    assert (await system.http.delete(f"/v1/streams/{running}")).status_code == 204
    running = await system.post(model="demo/count", input="x", params={"words": 1_000, "delay_ms": 20})
    assert (await system.http.delete(f"/v1/streams/{running}")).status_code == 204
    assert (await system.http.get(f"/v1/streams/{running}")).status_code == 404


async def other_endpoints(system: System) -> None:
    chat = {"id": "c", "trigger": "submit-message", "model": "demo/count"}
    for number in range(2):
        message = {"id": f"m{number}", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        answer = await system.http.post("/api/chat", json=chat | {"messages": [message]})
        assert "[DONE]" in answer.text
    assert (await system.http.get("/api/chat/c/stream")).status_code == 204
    assert (await system.http.post("/api/chat/c/stop")).is_success
    body = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]}
    for tried in range(2):
        retries = {"x-stainless-retry-count": str(tried)}
        answer = await system.http.post("/v1/chat/completions", json=body, headers=retries)
        assert answer.json()["choices"][0]["finish_reason"] == "stop"


async def what_operators_ask(system: System, *paths: str) -> None:
    for path in paths:
        answer = await system.http.get(f"/v1/operate/{path}", headers={"Authorization": f"Bearer {OPERATOR}"})
        assert answer.status_code == 200, (path, answer.text)


async def a_lost_worker_and_a_stopped_one(system: System, server: Server) -> None:
    streams = {model: await system.post(model=model, input=directive(SLOW)) for model in ("openai/x", "demo/count")}
    async with system.http.stream("GET", f"/v1/streams/{streams['openai/x']}/events") as answer:
        async for line in answer.aiter_lines():
            if line == "event: text":
                break
    system.workers[0].kill()
    await start(system, server, "worker")
    assert (await system.ended(streams["openai/x"]))["outcome"] == "completed"
    handed_over = await system.post(model="openai/x", input=directive(SLOW))
    async with system.http.stream("GET", f"/v1/streams/{handed_over}/events") as answer:
        async for line in answer.aiter_lines():
            if line == "event: text":
                break
    await stop(system.workers[1])
    queued = await system.post(model="demo/count", input="x")
    await what_operators_ask(system, f"streams/acme/{queued}")
    assert (await system.http.post(f"/v1/streams/{queued}/cancel")).status_code == 202
    await start(system, server, "worker")
    assert (await system.ended(handed_over))["outcome"] == "completed"


def test_what_the_scripts_run_is_listed() -> None:
    """Operation/Redis users."""
    sources = [source for name, source in SOURCES.items() if name not in OF_IMPORTS]
    run = {command.lower() for source in sources for command in re.findall(r"redis\.call\('(\w+)'", source)}
    assert len(run) > 15
    assert run - (allowed("broker") & allowed("worker")) == set()


def test_nobody_may_do_more(server: Server) -> None:
    """Operation/Redis users."""
    for name in ("", "default"):
        with server.client(name) as client, pytest.raises(AuthenticationError):
            client.ping()
    for name in ("broker", "worker", "health"):
        with server.client(name) as client:
            assert client.ping()
            for words in (
                "FLUSHALL",
                "KEYS *",
                "CONFIG SET dir /tmp",
                "ACL LIST",
                "MONITOR",
                "SAVE",
                "EVAL 0 0",
                "XREAD STREAMS other:x 0",
                "GET x",
            ):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*words.split())
    with server.client("broker") as broker, server.client("worker") as worker:
        broker.set("ms:secret", "hidden")
        for words in ("GET ms:secret", "SET ms:secret x", "GET other:x"):
            with pytest.raises(NoPermissionError):
                worker.execute_command(*words.split())
        with pytest.raises(NoPermissionError):
            broker.get("other:x")


REFUSED_BY_SERVICES = ("config", "slowlog", "memory", "wait", "waitaof")
"""What some managed services refuse (docs/services.md)."""


async def test_a_service_may_refuse_what_only_tells_more(redis: Any, redis_url: str, settings: Settings) -> None:
    """Operation/Redis users."""
    rules = "on nopass ~* &* +@all -@admin -@dangerous +info " + " ".join(f"-{name}" for name in REFUSED_BY_SERVICES)
    await redis.execute_command("ACL", "SETUSER", "service", *rules.split())
    url = SecretStr(redis_url.replace("//", "//service:any@"))
    theirs = settings.model_copy(update={"redis_url": url})
    async with inside.worker(theirs), inside.broker(theirs) as client:
        started = await client.post("/v1/streams", json={"model": "demo/count", "input": "x"})
        ended = await client.get(f"/v1/streams/{started.json()['id']}?wait=10")
        assert ended.json()["outcome"] == "completed"
    refused = {row["object"].partition("|")[0] for row in await redis.acl_log() if row["username"] == "service"}
    await redis.execute_command("ACL", "DELUSER", "service")
    assert refused
    assert refused <= {*REFUSED_BY_SERVICES}, "needed, but refused by services"


def test_the_docs_list_every_command() -> None:
    """Operation/Redis users."""
    text = (ROOT / "docs/services.md").read_text()
    (listed,) = re.findall(r"<!-- commands -->\n(.*?)\n<!-- /commands -->", text, re.DOTALL)
    needed = {name.replace("|", " ").upper() for name in allowed("broker") | allowed("worker")}
    assert {*re.findall(r"`([A-Z ]+)`", listed)} == needed
