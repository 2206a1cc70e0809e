"""What makes two steps the same one, and what no step may be made of (PROTOCOL: Step/Key, Step/Result)."""

import asyncio
import math
import unicodedata
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from midstream.attempts.steps import Steps, UnfitStepError, key_of
from midstream.log.entries import Entry

ACCENT = "caf\u00e9"


class Log:
    """Takes a step's entries; `is_open` is cleared while it does not answer."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def write(self, entry: Entry, *, durably: bool) -> None:
        """Take an entry."""
        self.states.append(entry.data["state"])
        await self.is_open.wait()
        assert durably == (entry.data["state"] == "begun")

    async def read(self) -> AsyncIterator[Entry]:
        """Yield nothing: no earlier attempt has left a step."""
        for entry in list[Entry]():
            yield entry


def steps_of(log: Log) -> Steps:
    return Steps(log.write, log.read, most_bytes=1_000)


@pytest.mark.parametrize(
    "arguments",
    [math.nan, {"a": [1, (math.inf,)]}, b"1", datetime(2026, 1, 1, tzinfo=UTC), Decimal(1), {1: 1}, "\ud800", 2**64],
)
async def test_arguments_that_are_no_json_begin_nothing(arguments: Any) -> None:
    """Step/Result."""
    log, till = Log(), list[int]()
    with pytest.raises(UnfitStepError, match="is no JSON"):
        await steps_of(log).once("pay", arguments, lambda: till.append(1))
    assert (log.states, till) == ([], [])


def test_what_tells_steps_apart() -> None:
    """Step/Key."""
    apart = [1, 1.0, "1", True, None, [], {}, ACCENT, unicodedata.normalize("NFD", ACCENT), [[1], 2], [1, [2]]]
    assert len({key_of("pay", each) for each in apart} | {key_of("pay ", 1)}) == len(apart) + 1
    assert key_of("pay", {"a": {"b": 1, "c": 2}, "d": 3}) == key_of("pay", {"d": 3, "a": {"c": 2, "b": 1}})


async def test_a_result_that_was_on_its_way_is_known() -> None:
    """Step/Key: the app has waited for the log no longer than it wanted to."""
    log, till = Log(), list[int]()
    steps = steps_of(log)

    def pay() -> int:
        till.append(1)
        log.is_open.clear()
        return len(till)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await steps.once("pay", {}, pay)
    assert await steps.once("pay", {}, pay) == 1
    assert (till, log.states) == ([1], ["begun", "done"])
