"""The tails of a stream on all brokers: one process asks, and each broker answers (PROTOCOL: Operate/Tails).

The question is published, because no broker knows which others have tails on a stream, and a list of all tails kept in
Redis would cost a write for each. The answers go to a list of their own that is gone after some seconds.
"""

import asyncio
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.keys import new_id
from midstream.log.scripts import Scripts

KEEP_MS: Final = 5_000
WAIT_S: Final = 0.5
"""The longest wait for all answers; a broker whose loop lags by more is left out."""
SHORTEST_S: Final = 0.01
"""No shorter time than this is waited, because Redis takes 0 for a wait without end."""
MOST_ANSWERS: Final = 100
"""How many brokers' answers are read."""
MOST_TAILS: Final = 200
"""How many tails a broker names in an answer; it counts them all."""


class Census:
    """Questions and answers under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    @property
    def channel(self) -> str:
        """The channel that brokers listen to."""
        return self._keys.census

    async def ask(self, stream_id: str) -> tuple[list[dict[str, Any]], int]:
        """Return the brokers' answers about a stream's tails, and how many brokers were asked."""
        answers_key = self._keys.answers(new_id())
        question = orjson.dumps({"stream": stream_id, "answers": answers_key})
        (brokers,) = await self._scripts.in_order(("PUBLISH", self._keys.census, question))
        answers: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        until_s = loop.time() + WAIT_S
        while len(answers) < min(brokers, MOST_ANSWERS) and (left_s := until_s - loop.time()) > SHORTEST_S:
            (popped,) = await self._scripts.in_order(("BLPOP", answers_key, f"{left_s:.3f}"))
            if popped is None:
                break
            answers.append(orjson.loads(popped[1]))
        return answers, brokers

    async def answer(self, answers_key: str, answer: dict[str, Any]) -> None:
        """Answer a question."""
        await self._scripts.in_order(("RPUSH", answers_key, orjson.dumps(answer)), ("PEXPIRE", answers_key, KEEP_MS))
