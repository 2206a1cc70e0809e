"""What operators see of costs: sums by what they belong to, over days (PROTOCOL: Money/Sums)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from midstream.cli.main import main
from midstream.settings import Settings
from tests import inside

TABLE = 'currency = "EUR"\n[models]\n"demo/*" = {input = 1, output = 1}\n'
NOW = datetime.now(UTC)
TODAY, YESTERDAY, TOMORROW = (f"{NOW + timedelta(days=number):%Y-%m-%d}" for number in (0, -1, 1))
ROWS: dict[str, dict[str, int]] = {
    "tenant": {"default": 3_500_000_000, "acme": 10**10},
    "user": {"default/ada": 2_000_000_000, "default/eve/x": 1_500_000_000, "acme/bob": 10**10},
    "thread": {"default/t 1": 100_000_001},
    "model": {"default/demo/story": 500_000_000, "default/demo/count": 3_000_000_000, "acme/demo/story": 10**10},
    "key": {"acme/0123456789ab": 5},
}


@pytest.fixture
async def priced(settings: Settings, redis: Redis, tmp_path: Path) -> Settings:
    (tmp_path / "prices.toml").write_text(TABLE)
    for kind, rows in ROWS.items():
        for row, nano in rows.items():
            await redis.hset(f"ms:cost:{kind}:EUR:{TODAY}", row, str(nano))  # type: ignore[misc]
        await redis.expire(f"ms:cost:{kind}:EUR:{TODAY}", 60)
    await redis.hset(f"ms:cost:tenant:EUR:{YESTERDAY}", "default", "250000000")  # type: ignore[misc]
    await redis.hset(f"ms:cost:user:EUR:{TODAY}", "", "7")  # type: ignore[misc]
    await redis.expire(f"ms:cost:tenant:EUR:{YESTERDAY}", 60)
    return settings.model_copy(update={"prices_file": tmp_path / "prices.toml"})


async def costs(http: httpx2.AsyncClient, **params: str) -> dict[str, Any]:
    answer = await http.get("/v1/operate/costs", params=params)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_sums_are_shown_by_what_they_belong_to(priced: Settings) -> None:
    """Money/Sums: an open broker's operator sees the tenant `default` alone (Operate/Scope)."""
    async with inside.broker(priced) as http:
        document = await costs(http, **{"by": "tenant", "from": YESTERDAY, "to": TODAY})
        assert document == {
            "by": "tenant",
            "from": YESTERDAY,
            "to": TODAY,
            "currency": "EUR",
            "total": "3.75",
            "data": [{"tenant": "default", "amount": "3.75"}],
        }
        assert (await costs(http, by="user", to=TODAY))["data"] == [
            {"tenant": "default", "user": "ada", "amount": "2"},
            {"tenant": "default", "user": "eve/x", "amount": "1.5"},
        ]
        thread = {"tenant": "default", "thread": "t 1", "amount": "0.100000001"}
        assert (await costs(http, by="thread", to=TODAY))["data"] == [thread]
        models = [{"model": "demo/count", "amount": "3"}, {"model": "demo/story", "amount": "0.5"}]
        assert (await costs(http, by="model", tenant="default", to=TODAY))["data"] == models
        days = [{"day": YESTERDAY, "amount": "0.25"}, {"day": TODAY, "amount": "3.5"}]
        assert (await costs(http, **{"by": "day", "from": YESTERDAY, "to": TODAY}))["data"] == days
        assert (await costs(http, by="key"))["data"] == []
        assert (await costs(http, by="user", tenant="acme"))["data"] == []
        for wrong in ({"by": "cake"}, {"from": TOMORROW, "to": TODAY}, {"from": "2020-01-01"}, {"to": "soon"}):
            refused = await http.get("/v1/operate/costs", params=wrong)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_request"), wrong


async def test_the_command_prints_a_table(
    priced: Settings, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Money/Sums."""
    monkeypatch.delenv("MIDSTREAM_API_KEY", raising=False)
    words = ["costs", "--by", "user", "--from", YESTERDAY, "--to", TODAY, "--tenant", "default", "--url"]
    async with inside.broker(priced) as http:
        printed = await asyncio.to_thread(CliRunner().invoke, main, [*words, str(http.base_url)])
        as_json = await asyncio.to_thread(CliRunner().invoke, main, [*words, str(http.base_url), "--json"])
    assert printed.output.splitlines() == [
        "tenant   user   EUR",
        "default  ada    2",
        "default  eve/x  1.5",
        f"total 3.5 EUR, {YESTERDAY} to {TODAY}",
    ]
    assert as_json.exit_code == 0
    assert '"total": "3.5"' in as_json.output
    async with inside.broker(settings) as http:
        assert (await costs(http))["currency"] is None
        without = await asyncio.to_thread(CliRunner().invoke, main, [*words, str(http.base_url)])
    assert "MIDSTREAM_PRICES_FILE" in without.output
