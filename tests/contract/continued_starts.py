"""Starts that go on with the thread `t`, and what their model was sent."""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import orjson

from midstream.log.entries import Json
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, started
from tests.contract.thread_tails import APPS

NEW: Final = {"role": "user", "content": "and now?"}


async def tell(messages: list[Json], _: Json) -> AsyncIterator[str]:
    """Answer with what was sent, as JSON."""
    yield orjson.dumps(messages).decode()


def with_apps(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"apps": APPS | {"tell": f"{__name__}:tell"}} | changes)


async def begin_anew(client: httpx2.AsyncClient) -> None:
    """Have the thread `t` be one stream with calls, two of which have results."""
    await client.delete("/v1/threads/t", headers=ADMIN)
    await started(client, ADMIN, thread="t", model="app/everything", input="a €")


async def sent_by(client: httpx2.AsyncClient, trim: Json) -> tuple[str, list[Json]]:
    """Go on with the thread `t`; return the stream, and the messages that its model was sent."""
    more = {"model": "app/tell", "messages": [NEW], "input": None, "continue_thread": True, "trim": trim}
    stream_id = await started(client, ADMIN, thread="t", **more)
    state = (await client.get(f"/v1/streams/{stream_id}", headers=ADMIN, params={"wait": 10})).json()
    messages: list[Json] = orjson.loads(state["output"]["text"])
    assert state["messages"] == messages
    return stream_id, messages
