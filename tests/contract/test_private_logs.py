"""No log holds what users say, what models answer, or a key (PROTOCOL: Logs/Private), at any level."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from tests.provider.client import ProviderServer
from tests.provider.script import Script, directive
from tests.system import System

KEY = "swordfish-key-0123456789-0123456789"
PROMPT = "swordfish-prompt"
ANSWER = "swordfish-answer"
MODELS = ("openai/gpt-test", "anthropic/claude-test", "groq/some-model")


async def secretive(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield ANSWER


async def test_no_log_holds_a_secret(redis_url: str, tmp_path: Path, provider: ProviderServer) -> None:
    """Logs/Private."""
    system = System(
        redis_url,
        tmp_path,
        provider.url,
        log_level="debug",
        api_keys=f"{KEY}:tenant",
        openai_dialect="responses",
        providers=json.dumps({"groq": provider.openai_url}),
        apps=json.dumps({"secretive": f"{__name__}:secretive"}),
    )
    system.environment |= {"OPENAI_API_KEY": "sk-swordfish-openai", "ANTHROPIC_API_KEY": "sk-swordfish-anthropic"}
    # How the SDKs are asked to log everything, without a word to us.
    system.environment |= {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug"}
    system.http.headers["Authorization"] = f"Bearer {KEY}"
    async with system:
        await system.start()
        for model in MODELS:
            for script in (Script(words=2, tag=PROMPT), Script(fail="status", status=400, tag=PROMPT)):
                await system.ended(await system.post(model=model, input=directive(script)))
        await system.http.post("/v1/responses", json={"model": "app/secretive", "input": PROMPT})
        async with connect(system.url.replace("http", "ws") + "/v1/ws") as socket:
            await socket.send(json.dumps({"type": "auth", "key": KEY}))
            await socket.send(json.dumps({"type": "start", "request": {"model": "app/secretive", "input": PROMPT}}))
            async for message in socket:
                if '"end"' in str(message):
                    break
        assert len(await provider.requests()) == 6
    logs = {name: system.log(name) for name in ("worker0", "broker0")}
    assert "worker ready" in logs["worker0"]
    leaked = [line[:300] for log in logs.values() for line in log.splitlines() if "swordfish" in line]
    assert not leaked, "\n".join(leaked)
