"""`midstream ls` against a broker whose pages come short, and against one that searches for operators.

Operation/List.
"""

import asyncio
import json
import re
import signal
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.contract.scripted_broker import Answer, Exchange, scripted_broker

FITTING = (0, 1, 7, 8, 9)
"""Which of ten streams fit; the broker looks at two for each page."""


def row(number: int) -> dict[str, Any]:
    return {"id": f"s{number}", "status": "running", "model": "demo/x", "tail": 1, "created_ms": number}


def pages() -> Answer:
    async def answer(exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.line.split()[1]).query)
        assert query["status"] == ["running"]
        begin, limit = int(query.get("cursor", ["0"])[0]), int(query.get("limit", ["50"])[0])
        fitting = [number for number in range(begin, min(begin + 2, 10)) if number in FITTING][:limit]
        end = fitting[-1] + 1 if len(fitting) == limit else begin + 2
        document = {"data": [row(number) for number in fitting], "next_cursor": str(end) if end < 10 else None}
        await exchange.send(200, document)

    return answer


async def started(url: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "midstream.cli", "ls", "--url", url, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ls(*words: str) -> tuple[str, str]:
    async with scripted_broker(pages()) as broker:
        process = await started(broker.url, "--status", "running", *words)
        out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "ids", "cursor"),
    [
        ((), ["s0", "s1", "s7", "s8", "s9"], None),
        (("--limit", "3"), ["s0", "s1", "s7"], "8"),
        (("--limit", "3", "--cursor", "2"), ["s7", "s8", "s9"], None),
        (("--limit", "1", "--all"), ["s0", "s1", "s7", "s8", "s9"], None),
    ],
)
async def test_it_pages_on_until_the_limit_is_filled(
    words: tuple[str, ...], ids: list[str], cursor: str | None
) -> None:
    out, _ = await ls(*words, "--json")
    listed = json.loads(out)
    assert [stream["id"] for stream in listed["data"]] == ids
    assert listed["next_cursor"] == cursor


async def test_it_says_when_it_was_cut_and_how_to_go_on() -> None:
    out, err = await ls("--limit", "3")
    assert len(out.splitlines()) == 4
    assert err == "[cut; there may be more: --cursor 8, or --all]\n"
    assert (await ls())[1] == ""


STALLED = row(1) | {"tenant": "acme", "outcome": None, "code": None, "epoch": 4, "last_entry_ms": 1, "user": None}


def search(queries: list[dict[str, list[str]]]) -> Answer:
    async def answer(exchange: Exchange) -> None:
        url = urlsplit(exchange.line.split()[1])
        assert url.path == "/v1/operate/streams"
        queries.append(parse_qs(url.query))
        await exchange.send(200, {"data": [STALLED | {"thread": None}], "next_cursor": None})

    return answer


async def test_an_operator_without_a_tenant_of_its_own_hears_what_to_add() -> None:
    """Operation/List."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(403, {"code": "insufficient_scope", "detail": "This credential lacks the scope `read`."})

    async with scripted_broker(answer) as broker:
        process = await started(broker.url, "--status", "failed")
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().endswith("lacks the scope `read`. An operator adds --all-tenants.\n")


async def test_an_operator_searches_by_every_condition() -> None:
    """Operation/List, Operate/Find."""
    queries: list[dict[str, list[str]]] = []
    words = "--status failed --silent-s 9 --attempts-over 3 --metadata job=7=8 --where user=ada --tenant acme --limit 5"
    async with scripted_broker(search(queries)) as broker:
        process = await started(broker.url, *words.split())
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert re.match(r"stream +tenant +status +why +model +attempts", out.decode())
    assert re.search(r"^s1 +acme +running +- +demo/x +4 ", out.decode(), re.MULTILINE)
    assert queries == [
        {
            "status": ["failed"],
            "silent_s": ["9"],
            "attempts_over": ["3"],
            "metadata.job": ["7=8"],
            "user": ["ada"],
            "tenant": ["acme"],
            "limit": ["5"],
        }
    ]


async def test_it_looks_again_until_it_is_interrupted() -> None:
    """Operation/List."""
    queries: list[dict[str, list[str]]] = []
    async with scripted_broker(search(queries)) as broker:
        process = await started(broker.url, "--all-tenants", "--watch", "--every", "0.2", "--json")
        assert process.stdout is not None
        looks = [json.loads(await process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert looks == [{"data": [STALLED | {"thread": None}], "next_cursor": None}] * 3
    assert queries[:3] == [{"limit": ["20"]}] * 3


async def test_a_condition_without_a_value_is_refused() -> None:
    """Operation/List."""
    process = await started("http://127.0.0.1:1", "--where", "user")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"--where needs a name" in err
