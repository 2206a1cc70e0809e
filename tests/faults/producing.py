"""The program of a user's own that the fault rig breaks: a block of `midstream.produce` for each case of its plan.

It keeps books of its own, a line for each call of its model, and after a refusal that permits it
it begins again as a user's program should: with the same key.
"""

import asyncio
import json
import sys
import time
from typing import Any

import midstream
from tests.provider.script import Script

BEGUN = "producing"
AGAIN = ("log_unavailable", "log_full")
TRIES = 40
PAUSE_S = 0.05


def plan(cases: list[tuple[str, Script]]) -> str:
    """Return the argument that has these cases, by their keys, produced."""
    return json.dumps([{"key": key, "words": s.words, "delay_ms": s.delay_ms} for key, s in cases])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _produce(case: dict[str, Any], url: str | None) -> None:
    script = Script(words=case["words"])
    for _ in range(TRIES):
        try:
            async with midstream.produce(url, key=case["key"], chunking={"flush_ms": 0}) as out:
                _say(f"called {case['key']} {time.time() * 1000:.0f}")
                for number in range(script.words):
                    await out.text(f"w{number} ")
                    await asyncio.sleep(case["delay_ms"] / 1000)
        except midstream.ProduceError as error:
            _say(f"refused {case['key']} {error.code}")
            if error.code not in AGAIN:
                return
            await asyncio.sleep(PAUSE_S)
        else:
            return


async def _produce_all(cases: list[dict[str, Any]], url: str | None) -> None:
    _say(BEGUN)
    await asyncio.gather(*(_produce(case, url) for case in cases))


def main() -> None:
    """Produce all cases at once, by Redis or by the broker at a further argument."""
    asyncio.run(_produce_all(json.loads(sys.argv[1]), sys.argv[2] if sys.argv[2:] else None))
