"""The program of a user's own that the fault rig breaks: a block of `midstream.produce` for each case of its plan.

Or it does by plain HTTP what a program in another language does (`raw_producing.py`). It keeps books of its own, a line
for each call of its model, and after a refusal that permits it it begins again as a user's program should: with the
same key.
"""

import asyncio
import json
import sys
import time
from typing import Any

import httpx2

import midstream
from midstream.testing.provider.script import Script
from tests.faults.raw_producing import RefusedError, client_of, produce_raw

RAW = "raw"
BEGUN = "producing"
AGAIN = ("log_unavailable", "log_full")
TRIES = 40
PAUSE_S = 0.05


def plan(cases: list[tuple[str, Script]]) -> str:
    """Return the argument that has these cases, by their keys, produced."""
    return json.dumps(
        [{"key": key, "words": s.words, "delay_ms": s.delay_ms, "first_delay_ms": s.first_delay_ms} for key, s in cases]
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _produce(case: dict[str, Any], url: str | None) -> None:
    for _ in range(TRIES):
        try:
            async with midstream.produce(url, key=case["key"], chunking={"flush_ms": 0}) as out:
                _say_called(case)
                await asyncio.sleep(case["first_delay_ms"] / 1000)
                for piece in _pieces(case):
                    await out.text(piece)
                    await asyncio.sleep(case["delay_ms"] / 1000)
        except midstream.ProduceError as error:
            _say(f"refused {case['key']} {error.code}")
            if error.code not in AGAIN:
                return
            await asyncio.sleep(PAUSE_S)
        else:
            return


async def _produce_raw(case: dict[str, Any], http: httpx2.AsyncClient) -> None:
    delays_s = (case["first_delay_ms"] / 1000, case["delay_ms"] / 1000)
    try:
        await produce_raw(http, case["key"], _pieces(case), delays_s, lambda: _say_called(case))
    except (RefusedError, TimeoutError) as error:
        _say(f"refused {case['key']} {error!r}")


def _say_called(case: dict[str, Any]) -> None:
    _say(f"called {case['key']} {time.time() * 1000:.0f}")


def _pieces(case: dict[str, Any]) -> list[str]:
    return [step.piece for step in Script(words=case["words"]).steps()]


async def _produce_all(cases: list[dict[str, Any]], url: str | None = None, how: str = "") -> None:
    _say(BEGUN)
    if how == RAW and url is not None:
        async with client_of(url) as http:
            await asyncio.gather(*(_produce_raw(case, http) for case in cases))
    else:
        await asyncio.gather(*(_produce(case, url) for case in cases))


def main() -> None:
    """Produce all cases at once: by Redis, or by the broker at a further argument, by plain HTTP if `raw` follows."""
    asyncio.run(_produce_all(json.loads(sys.argv[1]), *sys.argv[2:]))
