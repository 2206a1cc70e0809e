"""Reading the AI SDK's UI message stream plainly, and what its client would make of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

LONG = {"words": 3_000, "delay_ms": 5}
LABEL = "[demo] This is canned text, no model was asked. "


@dataclass(frozen=True, slots=True)
class Part:
    """One event: the cursor and the name it carries, if any, and its part; `[DONE]` is a part of that type."""

    id: str
    event: str
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.data["type"])


async def parse(answer: httpx2.Response) -> AsyncIterator[Part]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in fields:
                data = {"type": "[DONE]"} if fields["data"] == "[DONE]" else orjson.loads(fields["data"])
                yield Part(fields.get("id", ""), fields.get("event", ""), data)
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def user(text: str, message_id: str = "u1") -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def body(text: str = "count", chat: str = "chat-1", **more: Any) -> dict[str, Any]:
    return {"id": chat, "messages": [user(text)], "trigger": "submit-message", "model": "demo/count", **more}


async def post(client: httpx2.AsyncClient, request: dict[str, Any], **headers: str) -> list[Part]:
    async with client.stream("POST", "/api/chat", json=request, headers=headers) as answer:
        assert answer.status_code == 200, (await answer.aread()).decode()
        assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [part async for part in parse(answer)]


async def resume(
    client: httpx2.AsyncClient, chat: str = "chat-1", after: str = "", query: str = "", **headers: str
) -> list[Part] | None:
    """Return the parts of a resumed chat; None: there was nothing to resume."""
    headers |= {"Last-Event-ID": after} if after else {}
    async with client.stream("GET", f"/api/chat/{chat}/stream?{query}", headers=headers) as answer:
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, answer.status_code
        return [part async for part in parse(answer)]


def joined(parts: list[Part]) -> list[dict[str, Any]]:
    """Return parts with deltas of one part joined."""
    made: list[dict[str, Any]] = []
    for part in parts:
        data = dict(part.data)
        name = {"tool-input-delta": "inputTextDelta"}.get(part.type, "delta")
        if name in data and made and made[-1] | {name: ""} == data | {name: ""}:
            made[-1][name] += data[name]
        else:
            made.append(data)
    return made


def text(parts: list[Part], kind: str = "text") -> str:
    return "".join(part.data["delta"] for part in parts if part.type == f"{kind}-delta")


def kinds(parts: list[Part]) -> list[str]:
    """Return the types in order, neighbours of one type once, without what is transient."""
    types = [part.type for part in parts if not part.data.get("transient")]
    return [kind for number, kind in enumerate(types) if number == 0 or types[number - 1] != kind]


def check_shape(parts: list[Part]) -> None:
    """Fail where the SDK's client would: a delta without its start, parts left open, anything after the end."""
    opened: set[tuple[str, str]] = set()
    for part in parts:
        kind, _, step = part.type.rpartition("-")
        match kind, step:
            case (("text" | "reasoning"), "start"):
                opened.add((kind, part.data["id"]))
            case (("text" | "reasoning"), "delta"):
                assert (kind, part.data["id"]) in opened, part
            case (("text" | "reasoning"), "end"):
                opened.remove((kind, part.data["id"]))
    assert not opened
    assert [part.type for part in parts].index("[DONE]") == len(parts) - 1


@asynccontextmanager
async def running(client: httpx2.AsyncClient, **more: Any) -> AsyncIterator[AsyncIterator[Part]]:
    """A chat whose answer has begun to come, and goes on for long."""
    request = body(params=LONG, **more)
    async with client.stream("POST", "/api/chat", json=request) as answer:
        assert answer.status_code == 200
        parts = parse(answer)
        async for part in parts:
            if part.type == "text-delta":
                break
        yield parts


async def stop(client: httpx2.AsyncClient, chat: str = "chat-1", **more: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/chat/{chat}/stop", json=more)
    return answer.status_code, answer.json()


async def streams(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """All streams, the newest first."""
    listed: list[dict[str, Any]] = (await client.get("/v1/streams")).json()["data"]
    return listed
