"""What operators ask on the command line (PROTOCOL: Operators)."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result

from midstream.cli import operate_views as views
from midstream.cli.main import main
from midstream.cli.table import size, span, table
from midstream.lifecycle import presence
from midstream.settings import Settings
from tests import inside
from tests.contract.scripted_broker import Exchange, scripted_broker
from tests.servers import free_port

LONG = {"model": "demo/count", "input": "hi", "params": {"words": 1_000, "delay_ms": 1_000}}
NARROW = 60


async def run(client: httpx2.AsyncClient, *words: str) -> Result:
    """Run a command beside the broker, whose loop is the test's."""
    return await asyncio.to_thread(CliRunner().invoke, main, [*words, "--url", str(client.base_url)])


async def test_each_command_prints_a_table_and_json(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operate/Roll, Operate/Why, Operate/Queue, Operate/Minutes, Operate/Doctor."""
    monkeypatch.setattr(presence, "SIGN_S", 0.05)
    async with inside.broker(settings) as client, inside.worker(settings) as worker:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        async with asyncio.timeout(5):
            while not (await client.get("/v1/operate/workers")).json()["data"][0]["generations"]:
                await asyncio.sleep(0.01)
        place = worker.name.rpartition(":")[0]
        parts: dict[tuple[str, ...], str] = {
            ("workers",): place,
            ("workers", "--streams"): stream_id,
            ("brokers",): "tails",
            ("queue",): "slips that wait",
            ("stats", "--minutes", "3"): "tokens/s",
            ("why", f"default/{stream_id}"): f"worker {place}",
            ("doctor",): "fast path",
            ("top", "--once"): "slots busy",
        }
        for words, part in parts.items():
            printed, as_json = await run(client, *words), await run(client, *words, "--json")
            assert (printed.exit_code, as_json.exit_code) == (0, 0), (words, printed.output)
            assert part in printed.output, words
            assert json.loads(as_json.output), words
        absent = await run(client, "why", "absent")
        assert (absent.exit_code, "stream_not_found" in absent.output) == (1, True)
        await client.post(f"/v1/streams/{stream_id}/cancel")
        await client.get(f"/v1/streams/{stream_id}?wait=10")


def test_the_doctor_fails_where_no_broker_answers() -> None:
    """Operate/Doctor."""
    done = CliRunner().invoke(main, ["doctor", "--url", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 1
    assert "FAULT    broker: No broker answers" in done.output


async def test_the_doctor_names_redis_where_it_does_not_answer() -> None:
    """Operate/Doctor."""

    async def answer(exchange: Exchange) -> None:
        problem = {"code": "log_unavailable", "detail": "The log does not answer."}
        await exchange.send(503, problem, "Connection: close\r\n")

    async with scripted_broker(answer) as broker:
        done = await asyncio.to_thread(CliRunner().invoke, main, ["doctor", "--json", "--url", broker.url])
    assert (done.exit_code, json.loads(done.output)["data"][0]["check"]) == (1, "redis")


def test_the_doctor_prints_the_whole_of_what_is_wrong() -> None:
    rows = [{"check": "memory", "level": level, "message": "x" * 100} for level in ("ok", "fault")]
    ok, fault, total = views.findings({"data": rows, "faults": 1, "warnings": 0}, NARROW).split("\n")
    assert (len(ok), len(fault) > 100, total) == (NARROW, True, "1 faults, 0 warnings")


def test_what_is_silent_or_loses_its_workers_is_shown_first() -> None:
    """Operate/Roll: also where an older broker or worker does not tell of the silence."""
    own = {"tenant": "t", "model": "m", "state": "streaming", "tail": 1, "lease_age_ms": 1}
    course = (("old", 1, 9_000, 900), ("again", 3, 5_000, 900), ("stalled", 1, 1_000, 60_000), ("new", 1, 7_000, None))
    names = ("id", "epoch", "age_ms", "silence_ms")
    rows = [own | dict(zip(names, each, strict=True)) for each in course]
    del rows[-1]["silence_ms"]
    lines = views.generations({"data": [{"host": "h", "pid": 1, "generations": rows}]}, 200).split("\n")
    assert [line.split()[0] for line in lines] == ["stream", "stalled", "again", "old", "new"]


@pytest.mark.parametrize("fit", [40, 60, 120])
def test_tables_fit_the_terminal(fit: int) -> None:
    rows = [("a" * 70, 3, "b" * 30, None), ("\x1b[31mred", 12_345, "c", 1.5)]
    lines = table(("name", "number", "more", "last"), rows, fit).split("\n")
    assert max(map(len, lines)) <= fit
    assert "\x1b" not in "".join(lines)
    assert len({line.find("12,345") + 6 for line in lines if "12,345" in line}) == 1


def test_an_id_is_whole_also_in_a_narrow_terminal() -> None:
    text = table(
        ("stream", "model", "why", "user"), [("5f" * 16, "openai/gpt-5.4", "provider_rate_limited", "ada")], 64
    )
    assert text.split("\n")[1] == f"{'5f' * 16}  openai/gpt-5.4  provider_rate…"


def test_wide_characters_take_two_columns() -> None:
    head, wide, accent = table(("user", "n"), [("漢字" * 9, 1), ("e\u0301", 22)], 37).split("\n")
    assert (head, wide) == ("user" + " " * 32 + "n", f"{'漢字' * 8}…   1")
    assert accent == "e\u0301" + " " * 34 + "22"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (span(850), "850ms"),
        (span(4_200), "4.2s"),
        (span(200_000), "3m20s"),
        (span(18_420_000), "5h07m"),
        (span(183_600_000), "2d3h"),
        (span(None), "-"),
        (size(312), "312 B"),
        (size(4_200), "4.1 KiB"),
        (size(2 * 2**40), "2.0 TiB"),
    ],
)
def test_numbers_are_short(made: Any, expected: str) -> None:
    assert made == expected
