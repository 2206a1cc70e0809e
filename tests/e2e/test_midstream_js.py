"""`/midstream.js` in a real browser: tabs that share a connection, a network that goes away."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from midstream.http.site import PAGE
from midstream.testing.provider.script import Script, directive
from tests.e2e.following import FOLLOW, begun, read
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

EXPORTS = "EventStreamParser,Refused,Tail,ThreadTail,resumableFetch,streamStore,tail,thread,threadStore"


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()


async def test_eight_tabs_on_http_1_follow_by_one_connection(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=150, delay_ms=40, hold_at=40)  # it goes on when all are seen to read it
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    pages = [await tabs.open(system.url) for _ in range(8)]
    for page in pages:
        await page.evaluate(FOLLOW, [stream_id, {}])
    for page in pages:
        await begun(page, "w30 ")
    assert (await system.http.get(f"/v1/streams/{stream_id}")).json()["tails"] == 1
    await provider.release()
    await pages[0].close()  # it has asked first, so it is the one that reads for all
    for page in pages[1:]:
        assert (await read(page))["text"] == script.text()
    assert len(await provider.calls()) == 1


LEAD = """(name) => new Promise((led) => navigator.locks.request(name, () => {
  const channel = new BroadcastChannel(name);
  window.lead = (message) => channel.postMessage(message);
  led();
  return new Promise((resolve) => (window.stop = resolve));
}))"""


async def test_a_merged_entry_of_another_tab_doubles_nothing(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    """Read/Coalesced, I2: the leading tab's cursor was elsewhere, so its merged entry overlaps with what was read."""
    script = Script(words=9, hold_at=6)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    leading, page = await tabs.open(system.url), await tabs.open(system.url)
    await leading.evaluate(LEAD, f"midstream:/v1/streams/{stream_id}/events")
    await page.evaluate(FOLLOW, [stream_id, {}])
    await begun(page, "w5 ")
    cursor = await page.evaluate("read.offsets.at(-1)")
    overlap = {"type": "text", "text": "twice ", "first": cursor - 1, "offset": cursor + 1}
    async with page.expect_request(lambda request: "follow=false" in request.url):
        await leading.evaluate("(message) => lead(message)", {"entry": overlap, "after": cursor - 2})
    await provider.release()
    await leading.evaluate("stop()")
    assert (await read(page))["text"] == script.text()


async def test_five_seconds_offline_lose_nothing(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    script = Script(words=200, delay_ms=40)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    page = await tabs.open(system.url)
    await page.evaluate(FOLLOW, [stream_id, {"share": False}])
    await begun(page, "w10 ")
    # Chromium's own switch lets open connections live; a broker that is gone takes them too.
    await tabs.context.set_offline(True)
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await system.start_broker()
    await asyncio.sleep(5)
    before = await page.evaluate("read.text")
    await tabs.context.set_offline(False)
    seen = await read(page)
    assert (len(before) < len(script.text()), seen["text"]) == (True, script.text())
    assert "reconnecting" in seen["states"]
    assert seen["merged"] > 0  # Read/Coalesced: what it has missed comes as one text
    assert len(await provider.calls()) == 1
    tabs.expected.add("net::ERR_")


async def test_a_refusal_is_an_error_with_its_problem(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await page.evaluate(FOLLOW, ["nobodys", {}])
    code = await page.evaluate("following.catch(({ status, problem }) => [status, problem.code])")
    assert code == [404, "stream_not_found"]
    tabs.errors.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


@asynccontextmanager
async def another_origin() -> AsyncIterator[str]:
    """Serve one empty page, and yield its origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
        writer.write(head + b"<!doctype html><link rel=icon href=data:,>")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


ACROSS = """async ([broker, key]) => {
  const { tail, resumableFetch } = await import(`${broker}/midstream.js`);
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const post = (path, body, more = {}) =>
    fetch(broker + path, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
  const started = await post("/v1/streams", { input: "x", model: "demo/count" }, { "Idempotency-Key": "k" });
  const id = started.headers.get("Stream-Id");
  let text = "";
  const onEntry = (entry) => (text += entry.text ?? "");
  await tail(`${broker}/v1/streams/${id}/events`, { headers, after: 1, onEntry });
  const messages = [{ id: "u", role: "user", parts: [{ type: "text", text: "x" }] }];
  const chat = { method: "POST", headers, body: JSON.stringify({ id: "c", messages, model: "demo/count" }) };
  const answer = await resumableFetch()(`${broker}/api/chat`, chat);
  const socket = new WebSocket(`${broker.replace("http", "ws")}/v1/ws`);
  const first = await new Promise((resolve) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", key }));
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
  });
  socket.close();
  const refused = await post("/v1/streams", { input: "x", model: "no/such" });
  const { code } = await refused.json();
  return { text, parts: (await answer.text()).includes('"finish"'), first, code };
}"""


async def test_a_page_of_a_listed_origin_uses_every_door_and_no_other_does(
    tabs: "Tabs", redis_url: str, tmp_path: Path
) -> None:
    async with another_origin() as listed, another_origin() as other:
        settings: dict[str, Any] = {"api_keys": "ka:alice", "cors_origins": listed, "demo_delay_ms": 1}
        async with System(redis_url, tmp_path, **settings) as system:
            await system.start()
            page = await tabs.open(listed)
            read = await page.evaluate(ACROSS, [system.url, "ka"])
            assert read.pop("text").endswith(" 99 100 ")
            assert read == {"parts": True, "first": "ready", "code": "unknown_model"}
            assert [error for error in tabs.errors if "422" not in error] == []
            page = await tabs.open(other)
            refused = await page.evaluate(f"(given) => ({ACROSS})(given).catch(String)", [system.url, "ka"])
    assert refused == "TypeError: Failed to fetch"
    assert any("blocked by CORS policy" in error for error in tabs.errors)
    tabs.errors.clear()


async def test_a_page_taken_back_from_the_history_reads_on(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=100, delay_ms=20, hold_at=20)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    page = await tabs.open(system.url)
    await page.evaluate(FOLLOW, [stream_id, {"share": False}])
    await begun(page, "w10 ")
    for event, persisted in (("pagehide", "true"), ("pageshow", "true")):
        await page.evaluate(f"dispatchEvent(new PageTransitionEvent('{event}', {{ persisted: {persisted} }}))")
    await provider.release()
    assert (await read(page))["text"] == script.text()
    assert "reconnecting" in await page.evaluate("read.states")


async def test_the_module_is_one_file_that_is_sent_once(tabs: "Tabs", system: System) -> None:
    for name, media_type in (("midstream.js", "text/javascript"), ("midstream.d.ts", "text/plain")):
        answer = await system.http.get(f"/{name}")
        assert answer.headers["content-type"].startswith(media_type)
        for tag in (answer.headers["etag"], f'"another", W/{answer.headers["etag"]}'):
            again = await system.http.get(f"/{name}", headers={"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
            assert (again.headers["etag"], again.headers["access-control-allow-origin"]) == (
                answer.headers["etag"],
                "*",
            )
        other = await system.http.get(f"/{name}", headers={"If-None-Match": '"another"'})
        assert (other.status_code, other.content) == (200, answer.content)
    async with another_origin() as other_origin:
        page = await tabs.open(other_origin)
        urls: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        load = "(url) => import(url).then((it) => Object.keys(it).join())"
        assert await page.evaluate(load, f"{system.url}/midstream.js") == EXPORTS
    assert urls == [f"{system.url}/midstream.js"]


SHUT_OUT = """async (broker) => {
  const { resumableFetch, tail } = await import(`${broker}/midstream.js`);
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"id":"c","messages":[]}' };
  return Promise.all([
    resumableFetch()(`${broker}/api/chat`, init).catch(({ message }) => message),
    tail(`${broker}/v1/streams/x/events`, { onEntry() {} }).catch(({ message }) => message),
  ]);
}"""


async def test_a_page_that_is_not_let_in_is_told_so_at_once(tabs: "Tabs", system: System) -> None:
    async with another_origin() as other:
        page = await tabs.open(other)
        async with asyncio.timeout(15):
            for error in await page.evaluate(SHUT_OUT, system.url):
                assert error.endswith("MIDSTREAM_CORS_ORIGINS does not list it.")
                assert system.url in error
                assert other in error
    tabs.errors.clear()


def test_it_can_be_packed_and_imported(tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("there is no `node` and `npm` on the PATH")
    command = [npm, "pack", "--json", "--pack-destination", str(tmp_path)]
    packed = json.loads(subprocess.run(command, cwd=PAGE, capture_output=True, check=True).stdout)[0]
    files = {file["path"] for file in packed["files"]}
    assert files >= {"midstream.js", "midstream.d.ts", "package.json", "midstream/tail.js"}
    assert not any("chat.css" in file or "index.html" in file for file in files)
    home = tmp_path / "node_modules" / packed["name"]
    home.mkdir(parents=True)
    subprocess.run(["tar", "xf", tmp_path / packed["filename"], "-C", home, "--strip-components=1"], check=True)
    (tmp_path / "use.mjs").write_text(f"import * as it from '{packed['name']}'; console.log(Object.keys(it).join());")
    output = subprocess.run([node, "use.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert output == f"{EXPORTS}\n"
