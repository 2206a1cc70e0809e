"""A page of the broker's own origin that tails with a plain `EventSource`, by its session's cookie (Access/Cookie)."""

import json
from typing import TYPE_CHECKING

import httpx2
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

KEY = "k" * 32
SIGN_IN = "fetch('/v1/session', {method: '%s', headers: %s}).then((answer) => answer.status)"
TAIL = """new Promise((resolve) => {
  const read = [], source = new EventSource(`/v1/streams/%s/events`);
  source.addEventListener("text", (event) => read.push(JSON.parse(event.data).text));
  source.addEventListener("end", () => { source.close(); resolve(read.join("")); });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) resolve("refused"); };
})"""


async def test_a_plain_event_source_reads_a_stream_by_its_cookie(settings: Settings, tabs: "Tabs") -> None:
    closed = settings.model_copy(update={"api_keys": SecretStr(f"{KEY}:acme")})
    bearer = {"Authorization": f"Bearer {KEY}"}
    async with inside.worker(closed), inside.broker(closed) as client:
        stream_id = await _started(client, bearer)
        tabs.expected |= {"401", "403", "404"}  # what is refused below, and a page of JSON that has no icon
        page = await tabs.open(f"http://localhost:{client.base_url.port}/openapi.json")
        assert await page.evaluate(TAIL % stream_id) == "refused"
        assert await page.evaluate(SIGN_IN % ("POST", json.dumps(bearer))) == 204
        assert await page.evaluate("document.cookie") == ""
        text = await page.evaluate(TAIL % stream_id)
        answer = (await client.get(f"/v1/streams/{stream_id}?wait=10", headers=bearer)).json()
        assert text == answer["output"]["text"] != ""

        # A page of another port is of the same site, and its browser sends the cookie.
        neighbour = settings.model_copy(update={"key_prefix": "neighbour"})
        async with inside.broker(neighbour) as other:
            hostile = await tabs.open(f"http://localhost:{other.base_url.port}/openapi.json")
            target = f"http://localhost:{client.base_url.port}/v1/streams/{stream_id}/cancel"
            ask = "fetch(%s, {method: 'POST', mode: 'no-cors', credentials: 'include'}).then((answer) => answer.type)"
            async with hostile.expect_response(target) as refused:
                assert await hostile.evaluate(ask % json.dumps(target)) == "opaque"
            assert (await refused.value).status == 403
            await hostile.close()

        assert await page.evaluate(SIGN_IN % ("DELETE", "{}")) == 204
        assert await page.evaluate(TAIL % stream_id) == "refused"
        await page.close()


async def _started(client: httpx2.AsyncClient, headers: dict[str, str]) -> str:
    request = {"model": "demo/count", "input": "count", "params": {"words": 30, "delay_ms": 20}}
    started = await client.post("/v1/streams", json=request, headers=headers)
    stream_id: str = started.json()["id"]
    return stream_id
