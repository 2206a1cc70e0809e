"""No log holds what users say, what models answer, or what lets somebody in (PROTOCOL: Logs/Private), at any level.

Every test of the suite is watched for some of it (tests/conftest.py). Here all of it is planted, and every endpoint and
verb is used with it: let in and refused, with a provider that answers and with one that fails.
"""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from midstream.testing.provider.script import Script, directive
from tests.contract.route_table import ROUTES
from tests.contract.ws_talk import dial
from tests.provider.client import ProviderServer
from tests.system import System

KEY = "swordfish-key-0123456789-0123456789"
PROMPT = "swordfish-prompt"
ANSWER = "swordfish-answer"
MODELS = ("openai/gpt-test", "anthropic/claude-test", "groq/some-model")
FAILURES = (
    Script(fail="status", status=400, error_code="swordfish_error", tag=PROMPT),
    Script(fail="status", status=429, error_code="swordfish_error", tag=PROMPT),
    Script(fail="error_event", fail_at=1, error_code="swordfish_error", tag=PROMPT),
    Script(fail="garbage", fail_at=1, tag=PROMPT),
    Script(fail="reset", fail_at=1, tag=PROMPT),
)
if "OPENAI_LOG" in os.environ:
    # The worker imports this file for its apps. The forked process has imported the SDKs before it had its environment.
    for package in ("openai", "anthropic", "httpx2", "httpcore2", "arq", "redis", "asyncio"):
        logging.getLogger(package).setLevel(logging.DEBUG)
SIGNER = ec.generate_private_key(ec.SECP256R1())


async def secretive(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield ANSWER


async def clumsy(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield ANSWER
    raise ValueError(messages)


async def wrong(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[Any]:
    yield {"swordfish": messages}


def token(**changes: Any) -> str:
    claims = {"iss": "https://id.example", "aud": "midstream", "sub": "ada", "exp": time.time() + 60} | changes
    return jwt.encode(claims, SIGNER, "ES256", {"kid": "k1"})


def secretive_system(redis_url: str, folder: Path, provider: ProviderServer) -> System:
    row = jwt.get_algorithm_by_name("ES256").to_jwk(SIGNER.public_key(), as_dict=True) | {"kid": "k1"}
    (folder / "keys.json").write_text(json.dumps({"keys": [row]}))
    apps = {name: f"{__name__}:{name}" for name in ("secretive", "clumsy", "wrong")}
    system = System(
        redis_url,
        folder,
        provider.url,
        log_level="debug",
        log_lines_per_s=10_000,
        api_keys=f"{KEY}:tenant",
        jwt_issuer="https://id.example",
        jwt_audience="midstream",
        jwt_jwks=str(folder / "keys.json"),
        openai_dialect="responses",
        openai_background="false",
        retry_attempts=2,
        providers=json.dumps({"groq": provider.openai_url}),
        apps=json.dumps(apps),
    )
    system.environment |= {"OPENAI_API_KEY": "sk-swordfish-openai", "ANTHROPIC_API_KEY": "sk-swordfish-anthropic"}
    # How the SDKs are asked to log everything, without a word to us. Not asyncio, to show what it runs: with
    # PYTHONASYNCIODEBUG, one run in ten of Python 3.11.7 walks its own stack in a circle forever, at any `Event.wait`.
    system.environment |= {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug"}
    return system


async def use_every_route(system: System, stream_id: str, credential: str) -> None:
    """Send each route's request with a secret in each place that can hold one."""
    for (method, path), row in ROUTES.items():
        request = row.sent(method, path, stream_id)
        content = request["content"].replace('"hi"', json.dumps(PROMPT)).replace("demo/count", "app/secretive")
        headers = request["headers"] | {"Authorization": f"Bearer {credential}", "Cookie": "midstream=swordfish-cookie"}
        for url in (
            request["url"],
            request["url"] + "?follow=false&wait=0&q=swordfish",
            request["url"] + "?token=swordfish",
        ):
            await ask(system, method, url, content=content, headers=headers)
        await ask(system, method, request["url"], headers={"Cookie": "midstream=swordfish-cookie"})
        await ask(system, method, request["url"], content=f'{{"{PROMPT}": ', headers=headers)


async def ask(system: System, method: str, url: str, **words: Any) -> None:
    """Send a request and read its answer; of a thread's tail, which has no end, the head."""
    async with system.http.stream(method, url, **words) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream") or "/threads/" not in url:
            await answer.aread()


async def use_every_verb(system: System, stream_id: str, credential: str) -> None:
    request = {"model": "app/secretive", "input": PROMPT}
    async with dial(system.http) as talk:
        await talk.say(type="auth", key=credential)
        messages: tuple[dict[str, Any], ...] = (
            {"type": "start", "request": request},
            {"type": "tail", "id": stream_id, "swordfish": 1},
            {"type": "start", "request": request | {PROMPT: PROMPT}},
            *({"type": verb, "id": stream_id} for verb in ("tail", "leave", "cancel")),
            {"type": "auth", "key": "swordfish-of-another"},
            {"type": "ping", "ref": "last"},
        )
        for message in messages:
            await talk.say(**message)
        while (await talk.hear()).get("ref") != "last":
            pass
    async with dial(system.http) as talk:
        await talk.say(type="auth", key="swordfish-unknown")
        await talk.hear("error")


async def test_no_log_holds_a_secret(redis_url: str, tmp_path: Path, provider: ProviderServer) -> None:
    """Logs/Private."""
    system = secretive_system(redis_url, tmp_path, provider)
    credentials = (KEY, token(), token(exp=time.time() - 100), token(aud="swordfish"), "swordfish-unknown")
    async with system:
        await system.start()
        system.http.headers["Authorization"] = f"Bearer {KEY}"
        for model in MODELS:
            for script in (Script(words=2, tag=PROMPT), *FAILURES):
                stream_id = await system.post(model=model, input=directive(script))
                state = await system.ended(stream_id)
                assert (state["outcome"] == "failed") is (script.fail is not None), state
        for app in ("secretive", "clumsy", "wrong"):
            stream_id = await system.post(model=f"app/{app}", input=PROMPT)
            await system.ended(stream_id)
        read_token = (await system.http.post("/v1/tokens", json={"stream": stream_id})).json()["token"]
        for credential in (*credentials, read_token):
            await use_every_route(system, stream_id, credential)
        del system.http.headers["Authorization"]
        for credential in credentials[:2]:
            await use_every_verb(system, stream_id, credential)
        assert len(await provider.requests()) >= len(MODELS) * (1 + len(FAILURES))
        async with asyncio.timeout(20), Redis.from_url(redis_url) as redis:
            while await redis.zcard("ms:due"):  # the streams of all routes and verbs: a busy worker leaves one queued
                await asyncio.sleep(0.05)
    logs = {name: system.log(name) for name in ("worker0", "broker0")}
    assert "worker ready" in logs["worker0"]
    assert "app clumsy failed" in logs["worker0"]
    assert logs["broker0"].count('"act": "start"') > len(MODELS)
    secrets = re.compile("swordfish|" + "|".join(re.escape(each) for each in (*credentials, read_token)))
    leaked = [line[:300] for log in logs.values() for line in log.splitlines() if secrets.search(line)]
    assert not leaked, "\n".join(leaked[:10])
