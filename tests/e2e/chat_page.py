"""The chat at `/`, as its tests speak of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from playwright.async_api import Locator, Page, expect

from midstream.settings import Settings

SLOW: Final = "slowly"


async def echo(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    """Answer with the number of messages and the last one; a slow answer goes on until it is stopped."""
    yield f"{len(messages)}: {messages[-1]['content']}"
    while SLOW in messages[-1]["content"]:
        await asyncio.sleep(0.05)
        yield " on"


def echoing(settings: Settings) -> Settings:
    """Return settings with `echo` as the model."""
    return settings.model_copy(update={"apps": {"echo": f"{__name__}:echo"}, "default_model": "app/echo"})


async def ask(page: Page, prompt: str) -> None:
    """Send a prompt, and wait until it is in the conversation that the address names."""
    prompts = page.get_by_role("article", name="You")
    before = await prompts.count()
    await page.get_by_label("Your message").fill(prompt)
    await page.get_by_label("Your message").press("Enter")
    await expect(prompts).to_have_count(before + 1)
    assert "?thread=" in page.url


def answer(page: Page) -> Locator:
    """The last answer."""
    return page.get_by_role("article", name="Answer").last


def outcome(page: Page) -> Locator:
    """What is said below the last answer when it has ended."""
    return answer(page).locator(".outcome")


async def stream_of(page: Page) -> str:
    """The id of the last answer's stream."""
    return await page.locator(".turn").last.get_attribute("data-stream") or ""


async def text_of(page: Page) -> str:
    """The answer's text to the last character, line ends as the log has them; the page shows the same words."""
    source: str = await answer(page).evaluate("(it) => it.source()")
    words = await answer(page).locator(".text").inner_text()
    assert words.split() == source.split()
    return source
