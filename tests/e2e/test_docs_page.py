"""`/docs` in a real browser that reaches nothing but the broker (PROTOCOL: Http/Declared)."""

from typing import TYPE_CHECKING

from playwright.async_api import Route, expect
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
KEY = "k" * 32


async def test_docs_need_no_other_host_and_can_authorize(settings: Settings, tabs: "Tabs") -> None:
    """A key that is given to the page goes with the requests that it tries; nothing breaks the page's policy."""
    closed = settings.model_copy(update={"api_keys": SecretStr(f"{KEY}:acme")})
    async with inside.broker(closed) as client:
        origin = str(client.base_url).rstrip("/")
        elsewhere: list[str] = []

        async def only_here(route: Route) -> None:
            if route.request.url.startswith((origin, "data:")):
                await route.continue_()
            else:
                elsewhere.append(route.request.url)
                await route.abort()

        await tabs.context.route("**/*", only_here)
        page = await tabs.open(f"{origin}/docs")
        await page.get_by_text("WebSocket", exact=True).wait_for()
        await page.get_by_role("button", name="Authorize").first.click()
        dialog = page.locator(".modal-ux")
        await dialog.get_by_label("auth-bearer-value").fill(KEY)
        await dialog.get_by_role("button", name="Apply credentials").first.click()
        await dialog.get_by_role("button", name="Close").first.click()
        listing = page.locator("#operations-streams-list_streams_v1_streams_get")
        await listing.get_by_role("button").first.click()
        await listing.get_by_role("button", name="Try it out").click()
        await listing.get_by_role("button", name="Execute").click()
        await expect(listing.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        await expect(listing.locator(".curl-command")).to_contain_text(KEY)
        await page.close()
    assert elsewhere == []
    assert tabs.errors == []
