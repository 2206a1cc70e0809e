"""What a test of one's own may do with the kit (docs/testing.md), whose page wheel_testing_page.py runs."""

from collections.abc import AsyncIterator
from typing import Any

import midstream
from midstream.testing import Kit, Script


@midstream.app("of-a-module")
async def of_a_module(_: list[Any], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "Found."


async def test_a_coroutine_uses_the_kit_and_outlives_its_server() -> None:
    with Kit(lease_ms=5_000, app_modules=__name__) as kit:
        stream = kit.client.start("x", model="app/of-a-module")
        assert kit.client.state(stream["id"], wait_s=10)["output"]["text"] == "Found."
        kit.model.script = Script(words=40, delay_ms=10)
        async with midstream.Midstream(kit.url) as client:
            stream_id = (await client.start("Go", model="openai/gpt-5"))["id"]
            text = ""
            async for entry in client.tail(stream_id):
                if entry.type == "text":
                    if not text:
                        kit.server.restart()
                    text += entry.data["text"]
        assert text == kit.model.script.text()
        assert [call.body["model"] for call in kit.model.calls] == ["gpt-5"]
