"""Compressed events as a browser and Node read them: each before the next is written (PROTOCOL: Read/Compressed)."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import midstream
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

WORDS = ("a", "long " * 50, "b", "longer " * 2_000)
READ = """
const answer = await fetch(process.argv[1])
console.log(answer.headers.get('content-encoding'))
let text = '', read = 0
for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
  text += part
  for (let end; (end = text.indexOf('\\n\\n', read)) >= 0; read = end + 2) {
    const data = /^data: (.*)$/m.exec(text.slice(read, end))
    if (data && JSON.parse(data[1]).text) console.log(JSON.parse(data[1]).text.length)
  }
}
"""
LISTEN = """(path) => {
  window.lengths = []
  const source = new EventSource(path)
  source.addEventListener('text', event => window.lengths.push(JSON.parse(event.data).text.length))
  source.addEventListener('end', () => source.close())
}"""


@pytest.fixture
async def system(redis_url: str, tmp_path: Path) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, gzip="true") as running:
        await running.start_broker()
        yield running


@pytest.mark.browser
async def test_a_browser_reads_on_as_it_is_written(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    async with midstream.produce(system.url) as out, page.expect_response(f"**/{out.id}/events") as answer:
        await page.evaluate(LISTEN, f"/v1/streams/{out.id}/events")
        assert await (await answer.value).header_value("content-encoding") == "gzip"
        for count, word in enumerate(WORDS, 1):
            await out.text(word)
            await page.wait_for_function("count => window.lengths.length === count", arg=count)
        out.finish("stop")
    assert await page.evaluate("window.lengths") == [len(word) for word in WORDS]


async def test_node_reads_on_as_it_is_written(system: System) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no `node` on the PATH")
    async with midstream.produce(system.url) as out:
        process = await asyncio.create_subprocess_exec(
            *(node, "--input-type=module", "-e", READ, f"{system.url}/v1/streams/{out.id}/events"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"gzip\n"
            for word in WORDS:
                await out.text(word)
                assert await process.stdout.readline() == f"{len(word)}\n".encode()
        out.finish("stop")
    assert await process.wait() == 0
