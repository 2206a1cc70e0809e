"""The programs of a user's own that move money in a till outside: an app for workers, and a producer.

Both say some words, pay by a step, and say the rest.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import midstream
from midstream.attempts.delta import Delta, Other
from midstream.producer.producer import Producer
from tests.faults.till import pay

BEGUN = "stepping"
APP = f"{__name__}:app"
WORDS_BEFORE = 3
TRIES = 60
AGAIN = ("already_produced", "log_unavailable")
PAUSE_S = 0.1


async def _held(params: dict[str, Any], at: str) -> None:
    """Say that this order is at a moment, and stay there for a while, if that is the one that was asked for."""
    if params["hold"] == at:
        sys.stdout.write(f"holding {params['order']}\n")
        sys.stdout.flush()
        await asyncio.sleep(params["hold_s"])


async def _pay(params: dict[str, Any]) -> int:
    await _held(params, "called")
    receipt = await pay(params["till"], params["order"], params["hold"])
    await _held(params, "returned")
    return receipt


async def app(_: list[Any], params: dict[str, Any], context: midstream.AppContext) -> AsyncIterator[str | Delta]:
    """Say words, pay, and say the rest; only the first attempt is held."""
    params = params if context.attempt == 1 else params | {"hold": ""}
    for number in range(params["words"]):
        if number == WORDS_BEFORE:
            await _held(params, "begin")
            step = {"order": params["order"]}
            receipt = await context.once("pay", step, lambda: _pay(params), unknown=params["unknown"])
            await _held(params, "logged")
            yield Other("data", {"kind": "receipt", "number": receipt})
        if number == WORDS_BEFORE + 2:
            await _held(params, "later")
        yield f"w{number} "
        await asyncio.sleep(params["delay_ms"] / 1000)


def plan(orders: list[dict[str, Any]]) -> str:
    """Return the argument that has these orders produced."""
    return json.dumps(orders)


async def _produce(params: dict[str, Any]) -> None:
    for _ in range(TRIES):
        try:
            async with midstream.produce(key=params["order"], take_up=True, chunking={"flush_ms": 0}) as out:
                await _say(out, params)
        except midstream.StepUnknownError:
            return
        except midstream.ProduceError as error:
            if error.code not in AGAIN:
                return
            await asyncio.sleep(PAUSE_S)
        else:
            return


async def _say(out: Producer, params: dict[str, Any]) -> None:
    for number in range(params["words"]):
        if number == WORDS_BEFORE:
            await _held(params, "begin")
            step = {"order": params["order"]}
            receipt = await out.once("pay", step, lambda: _pay(params), unknown=params["unknown"])
            await _held(params, "logged")
            await out.data("receipt", number=receipt)
        if number == WORDS_BEFORE + 2:
            await _held(params, "later")
        await out.text(f"w{number} ")
        await asyncio.sleep(params["delay_ms"] / 1000)


async def _produce_all(orders: list[dict[str, Any]]) -> None:
    sys.stdout.write(f"{BEGUN}\n")
    sys.stdout.flush()
    await asyncio.gather(*map(_produce, orders))


def main() -> None:
    """Produce all orders of the first argument at once."""
    asyncio.run(_produce_all(json.loads(sys.argv[1])))
