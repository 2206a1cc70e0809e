"""A backend that gives its page read tokens: the page reads the broker itself, and no key reaches a browser."""

import os
from pathlib import Path
from typing import Annotated

import httpx2
from fastapi import Cookie, FastAPI, HTTPException
from fastapi import Path as Segment
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

BROKER = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
TTL_S = int(os.environ.get("TOKEN_TTL_S", "900"))
PAGE = Path(__file__).with_name("index.html").read_text().replace("{{BROKER}}", BROKER)

app = FastAPI()
broker = httpx2.AsyncClient(base_url=BROKER, headers={"Authorization": f"Bearer {os.environ['MIDSTREAM_API_KEY']}"})
User = Annotated[str, Cookie(alias="user")]  # in place of the session by which your backend knows its users
StreamId = Annotated[str, Segment(pattern="^[0-9a-f]{32}$")]


class Question(BaseModel):
    """What the page sends."""

    input: str
    model: str = "demo/story"


@app.get("/")
async def page() -> HTMLResponse:
    """Log a user in, and answer with the page."""
    response = HTMLResponse(PAGE)
    response.set_cookie("user", "ada", httponly=True, samesite="strict")
    return response


@app.post("/answers")
async def start(question: Question, user: User) -> dict[str, str]:
    """Start an answer for this user."""
    answer = await broker.post("/v1/streams", json={**question.model_dump(), "user": user})
    return {"id": answer.raise_for_status().json()["id"]}


@app.post("/answers/{stream_id}/token")
async def token(stream_id: StreamId, user: User) -> dict[str, str]:
    """Return a token for one answer, if it is this user's."""
    state = await broker.get(f"/v1/streams/{stream_id}")
    if state.status_code != 200 or state.json()["user"] != user:
        raise HTTPException(404)
    answer = await broker.post("/v1/tokens", json={"stream": stream_id, "ttl_s": TTL_S})
    return {"token": answer.raise_for_status().json()["token"]}
