"""`midstream ls` against a broker whose pages come short, as a broker's do that looked through many for a few.

Operation/List.
"""

import asyncio
import json
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


async def ls(*words: str) -> tuple[str, str]:
    async with scripted_broker(pages()) as broker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "midstream.cli", "ls", "--status", "running", "--url", broker.url, *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
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
