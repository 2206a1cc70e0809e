"""A FastAPI app whose answers can be resumed, in three changed lines: those that end in `# midstream`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Cookie, Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse

import midstream

app = FastAPI()


def current_user(user: Annotated[str | None, Cookie()] = None) -> str:
    """Return who asks, in place of the session by which your app knows its users."""
    if user is None:
        raise HTTPException(401, "Open the page first.")
    return user


app.include_router(midstream.router(caller=current_user), prefix="/streams")  # midstream


async def agent(question: str) -> AsyncIterator[str]:
    """Answer a question, in place of your agent."""
    for word in f"You ask: {question} That depends on what you know about it already, and I have all day.".split():
        yield f"{word} "
        await asyncio.sleep(0.2)


@app.post("/ask")
async def ask(question: str, user: Annotated[str, Depends(current_user)]) -> str:
    """Begin an answer and return its id. Before midstream this was: return StreamingResponse(agent(question))."""
    return await midstream.in_background(midstream.produce(user=user), agent(question))  # midstream


@app.get("/")
async def page() -> FileResponse:
    """Serve the page to a new user."""
    response = FileResponse(Path(__file__).with_name("index.html"))
    response.set_cookie("user", "ada", httponly=True, samesite="strict")
    return response
