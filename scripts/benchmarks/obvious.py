"""The obvious way to do the same, as its libraries' documentation shows it: what midstream is measured beside."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from redis.asyncio import Redis
from sse_starlette import EventSourceResponse, ServerSentEvent

BLOCK_MS = 15_000


async def allowed(authorization: Annotated[str, Header()] = "") -> None:
    """Refuse a request without a key."""
    if authorization != f"Bearer {os.environ['API_KEY']}":
        raise HTTPException(401)


proxy = FastAPI()
tails = FastAPI()

provider = AsyncOpenAI(api_key="sk-bench", base_url=os.environ.get("PROVIDER_URL"), max_retries=0)
redis = Redis.from_url(os.environ["REDIS_URL"])


@proxy.get("/readyz")
@tails.get("/readyz")
async def readyz() -> str:
    """Answer once there is somebody to answer."""
    return "ok"


@proxy.post("/chat", dependencies=[Depends(allowed)])
async def chat(body: dict[str, Any]) -> StreamingResponse:
    """Pass a completion on, delta by delta."""

    async def frames() -> AsyncIterator[bytes]:
        stream = await provider.chat.completions.create(model=body["model"], messages=body["messages"], stream=True)
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield b'event: text\ndata: {"type":"text","text":%s}\n\n' % orjson.dumps(choice.delta.content)
        yield b"event: end\ndata: {}\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


@tails.get("/v1/streams/{stream_id}/events", dependencies=[Depends(allowed)])
async def events(stream_id: str, last_event_id: Annotated[str, Header()] = "0-0") -> EventSourceResponse:
    """Tail a Redis stream: one blocking XREAD for each client."""

    async def frames() -> AsyncIterator[ServerSentEvent]:
        after: str | bytes = last_event_id
        while True:  # sse-starlette cancels it when the client has gone
            for _, entries in await redis.xread({f"bench:{stream_id}": after}, count=256, block=BLOCK_MS):
                for entry_id, fields in entries:
                    after = entry_id
                    yield ServerSentEvent(id=entry_id.decode(), event="text", data=fields[b"e"].decode(), sep="\n")

    return EventSourceResponse(frames(), sep="\n")
