"""Budgets warn, and refuse starts where the settings say so (PROTOCOL: Money/Budgets, Create/Warnings)."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.service import intake
from midstream.settings import Settings
from tests import inside

TABLE = 'currency = "USD"\n[models]\n"demo/*" = {input = 1000, output = 1000}\n'
START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
"""It costs 0.8 cents."""
MESSAGES: dict[str, Any] = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]}
ALPHA, BETA = {"Authorization": "Bearer alpha"}, {"Authorization": "Bearer beta"}


@pytest.fixture
def priced(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "prices.toml").write_text(TABLE)
    update = {"prices_file": tmp_path / "prices.toml", "api_keys": SecretStr("alpha:alpha,beta:beta")}
    return settings.model_copy(update=update)


async def spend(http: httpx2.AsyncClient, redis: Redis, **changes: Any) -> httpx2.Response:
    """Start a stream and wait until its cost is counted; return the answer to the start."""
    answer = await http.post("/v1/streams", json=START | changes, headers=ALPHA)
    if answer.status_code == 201:
        await http.get(f"{answer.headers['location']}?wait=10", headers=ALPHA)
        async with asyncio.timeout(10):
            while await redis.zcard("ms:due"):
                await asyncio.sleep(0.01)
    return answer


def codes(answer: httpx2.Response) -> list[tuple[str, str, int]]:
    return [(each["code"], each["of"], each["percent"]) for each in answer.json()["warnings"]]


@pytest.mark.parametrize("of", ["tenant", "user", "key"])
@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_budget_warns_and_then_refuses(priced: Settings, redis: Redis, of: str, period: str) -> None:
    """Money/Budgets, Limits/Retried."""
    update = {f"{of}_{period}_budget_cents": 1, "budget_refuses": True}
    strict = priced.model_copy(update=update)
    async with inside.worker(strict), inside.broker(strict) as http:
        assert codes(await spend(http, redis, user="ada")) == []
        assert codes(await spend(http, redis, user="ada")) == [("budget_nearly_spent", of, 80)]
        refused = await spend(http, redis, user="ada")
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (429, "budget_exceeded")
        assert (problem["of"], problem["period"]) == (of, period)
        assert f"MIDSTREAM_{of}_{period}_BUDGET_CENTS".upper() in problem["detail"]
        longest_s = 86_400 if period == "day" else 31 * 86_400
        assert 0 < int(refused.headers["retry-after"]) <= longest_s
        others = BETA if of != "user" else ALPHA
        assert (await http.post("/v1/streams", json=START, headers=others)).status_code == 201


async def test_each_dialect_words_the_refusal_as_its_own(priced: Settings, redis: Redis) -> None:
    """Money/Budgets, Faces/Errors."""
    strict = priced.model_copy(update={"tenant_day_budget_cents": 1, "budget_refuses": True})
    async with inside.worker(strict), inside.broker(strict) as http:
        keyed = ALPHA | {"Idempotency-Key": "k"}
        first = await http.post("/v1/streams", json=START, headers=keyed)
        await spend(http, redis)
        openai = await http.post("/v1/chat/completions", json=MESSAGES, headers=ALPHA)
        assert (openai.status_code, openai.json()["error"]["code"]) == (429, "insufficient_quota")
        anthropic = await http.post("/v1/messages", json=MESSAGES | {"max_tokens": 9}, headers=ALPHA)
        assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (429, "rate_limit_error")
        assert {answer.headers["x-should-retry"] for answer in (openai, anthropic)} == {"false"}
        again = await http.post("/v1/streams", json=START, headers=keyed)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


async def test_without_the_setting_a_spent_budget_only_warns(
    priced: Settings, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Money/Budgets: in the answer, and once in the log."""
    lenient = priced.model_copy(update={"tenant_month_budget_cents": 1, "budget_warn_percent": 50})
    caplog.set_level(logging.WARNING, "midstream.service.budget_warnings")
    async with inside.worker(lenient), inside.broker(lenient) as http:
        answers = [await spend(http, redis) for _ in range(4)]
    warned = [("budget_nearly_spent", "tenant", 80), ("budget_spent", "tenant", 160), ("budget_spent", "tenant", 240)]
    assert [codes(answer) for answer in answers] == [[], *([each] for each in warned)]
    assert len([each for each in caplog.records if "of tenant alpha" in each.message]) == 2


@pytest.mark.leaves("the slip of a stream that no worker took", keys=["ms:queue"])
async def test_a_start_without_a_worker_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create/Warnings, Errors/Codes."""
    monkeypatch.setattr(intake, "FRESH_S", 0.0)
    async with inside.broker(settings) as http:
        started = await http.post("/v1/streams", json=START)
        assert [each["code"] for each in started.json()["warnings"]] == ["no_worker"]
        needed = await http.get("/readyz?need=worker")
        assert (needed.status_code, needed.json()["code"]) == (503, "no_worker")
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/readyz?need=cake")).json()["code"] == "bad_request"
        async with inside.worker(settings):
            async with asyncio.timeout(10):
                while (await http.get("/readyz?need=worker")).status_code != 200:
                    await asyncio.sleep(0.02)
            assert (await http.post("/v1/streams", json=START)).json()["warnings"] == []
            await http.get(f"{started.headers['location']}?wait=10")
