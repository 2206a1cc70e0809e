"""The chat at `/`, as its tests speak of it."""

from playwright.async_api import Locator, Page, expect


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
