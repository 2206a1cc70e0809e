"""`/docs` in a real browser that reaches nothing but the broker."""

from typing import TYPE_CHECKING

from playwright.async_api import Route

from midstream.settings import Settings
from tests import inside

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)


async def test_docs_need_no_other_host_and_can_authorize(settings: Settings, tabs: "Tabs") -> None:
    async with inside.broker(settings) as client:
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
        await page.get_by_role("button", name="Authorize").first.wait_for()
        await page.get_by_text("WebSocket", exact=True).wait_for()
        await page.close()
    assert elsewhere == []
