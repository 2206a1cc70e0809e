"""The chat at `/`: a real browser on the whole system, which runs as processes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from midstream.testing.provider.script import Script, directive
from tests.e2e.chat_page import answer, ask, outcome, stream_of, text_of
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

API_KEY = "key-of-the-test"

# Fed whole, and cut in two at every position: both must give the same events.
EVENT_STREAM = (
    ": a comment\nretry: 250\nretry: soon\n\n"
    'id: 1\nevent: text\ndata: {"a":1}\n\n'
    "id:2\r\nevent:text\r\ndata:first\r\ndata:\r\ndata:  third\r\n\r\n"
    "data: by CR\rid: 3\r\r"
    "id: 4\nevent: text\n\n"  # no data: not an event, but its id counts
    "data\n\n"
    "id: bad\0id\nunknown: field\ndata: ünïcode ✓\n\n"
    "data: cut off before its blank line\n"
)
EVENTS = [
    ["1", "text", '{"a":1}'],
    ["2", "text", "first\n\n third"],
    ["3", "message", "by CR"],
    ["4", "message", ""],
    ["4", "message", "ünïcode ✓"],
]
PARSE_CUT_EVERYWHERE = """async (stream) => {
  const { EventStreamParser } = await import("/midstream.js");
  const parse = (pieces) => {
    const events = [], retries = [];
    const take = ({ id, type, data }) => events.push([id, type, data]);
    const parser = new EventStreamParser(take, (ms) => retries.push(ms));
    pieces.forEach((piece) => parser.feed(piece));
    return JSON.stringify({ events, retries });
  };
  const whole = parse([...stream]);
  const odd = [];
  for (let cut = 0; cut <= stream.length; cut++) {
    if (parse([stream.slice(0, cut), stream.slice(cut)]) !== whole) odd.push(cut);
  }
  return { ...JSON.parse(whole), odd };
}"""

# A headless browser's tabs are all visible, so this one is told that it is not.
SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer, tabs: "Tabs") -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()
        await tabs.close()


async def test_a_reload_and_a_second_tab_join_the_same_generation_which_is_paid_once(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=75, delay_ms=30, hold_at=40)  # it goes on when the second tab was seen to read it
    first = await tabs.open(system.url)
    await ask(first, directive(script))
    await expect(answer(first)).to_contain_text("w10 ")
    await first.reload()
    await expect(answer(first)).to_contain_text("w20 ")
    second = await tabs.open(first.url)
    await expect(second.locator("#state")).to_have_text("running")
    await expect(second.locator("#connection")).to_have_text("live")
    for page in (first, second):
        await expect(page.locator("#tabs")).to_have_text("2")
    await provider.release()
    for page in (first, second):
        await expect(outcome(page)).to_contain_text("Completed")
        assert await text_of(page) == script.text()
        await expect(page.get_by_role("article", name="You")).to_have_text(directive(script))
        await expect(page.locator("#state")).to_have_text("ended: completed")
        await expect(page.locator("#connection")).to_have_text("live")  # a conversation has no end
        await expect(page.locator("#epoch")).to_have_text("1")
    assert len(await provider.calls()) == 1
    await second.close()
    await expect(first.locator("#tabs")).to_have_text("1")


async def test_eight_tabs_follow_and_one_can_still_stop(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    first = await tabs.open(system.url)
    await ask(first, directive(Script(words=2_000, delay_ms=40)))
    pages = [first, *[await tabs.open(first.url) for _ in range(7)]]  # HTTP/1.1 has six connections for all of them
    for page in pages:
        await expect(answer(page)).to_contain_text("w50 ")
    await pages[7].get_by_role("button", name="Stop").click()
    for page in pages:
        await expect(outcome(page)).to_contain_text("Stopped")
    assert len({await text_of(page) for page in pages}) == 1
    assert len(await provider.calls()) == 1


async def test_stop_ends_the_generation_in_every_tab(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    first = await tabs.open(system.url)
    await ask(first, directive(Script(words=2_000, delay_ms=15)))
    second = await tabs.open(first.url)
    await expect(answer(second)).to_contain_text("w10 ")
    await second.get_by_role("button", name="Stop").click()
    for page in (first, second):
        await expect(outcome(page)).to_contain_text("Stopped")
        await expect(outcome(page)).to_contain_text("not a whole answer")
        await expect(page.locator("#state")).to_have_text("ended: cancelled")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert await text_of(first) == await text_of(second)
    assert len(await provider.calls()) == 1


async def test_a_failure_is_shown_as_one_and_never_as_a_whole_answer(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await ask(page, directive(Script(words=40, fail="failed_event", fail_at=20)))
    for again in (False, True):
        if again:
            await page.reload()
        await expect(outcome(page)).to_contain_text("Failed")
        await expect(outcome(page)).to_contain_text("provider_error")
        await expect(outcome(page)).to_contain_text("The text above is not a whole answer.")
        await expect(page.locator("#state")).to_have_text("ended: failed")
        assert await text_of(page) == Script(words=20).text()


async def test_a_follow_up_sends_the_conversation_and_a_reload_shows_all_of_it(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    broken, whole = Script(words=8, fail="failed_event", fail_at=5), Script(words=3)
    prompts = [directive(broken), "And then?", directive(whole)]
    page = await tabs.open(system.url)
    streams = []
    for prompt in prompts:
        await ask(page, prompt)
        streams.append(await stream_of(page))
        await expect(outcome(page)).to_be_visible()
    sent = (await provider.calls())[-1]["body"]["input"]
    # A conversation goes on with what was completed in it (Threads/Continue).
    assert [item["role"] for item in sent] == ["user", "assistant", "user"]

    await page.reload()
    await expect(page.get_by_role("article", name="You")).to_have_text(prompts)
    answers = page.get_by_role("article", name="Answer")
    await expect(answers).to_contain_text([Script(words=5).text(), Script().text(), whole.text()])
    # The first answer was cut, and the messages of a history do not tell: the page still does.
    failed = answers.first.locator(".outcome")
    await expect(failed).to_have_text("Failed: this was not a whole answer.")
    states = [(await system.http.get(f"/v1/streams/{stream_id}")).json() for stream_id in streams]
    assert len({state["thread"] for state in states}) == 1

    first = page.url
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Another one")
    await expect(page.get_by_role("link", name="Another one")).to_have_attribute("aria-current", "page")
    await page.go_back()
    await page.go_back()
    await expect(page).to_have_url(first)
    await expect(page.get_by_role("article", name="You")).to_have_text(prompts)


async def test_a_lost_connection_is_told_and_made_up_for(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=100, delay_ms=30, unicode=True)
    page = await tabs.open(system.url)
    await ask(page, directive(script))
    await expect(answer(page)).to_contain_text("w10\u2028")
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await expect(page.locator("#connection")).to_have_text("reconnecting")
    await system.start_broker()
    await expect(outcome(page)).to_contain_text("Completed")
    assert await text_of(page) == script.text()
    assert len(await provider.calls()) == 1
    tabs.expected.add("net::ERR_")


async def test_a_hidden_tab_gives_its_connection_back_and_catches_up_when_seen(tabs: "Tabs", system: System) -> None:
    script = Script(words=150, delay_ms=30)
    page = await tabs.open(system.url)
    await ask(page, directive(script))
    await expect(answer(page)).to_contain_text("w10 ")
    await page.evaluate(SET_HIDDEN, arg=True)
    await expect(page.locator("#connection")).to_have_text("paused")
    state = (await system.http.get(f"/v1/streams/{await stream_of(page)}")).json()
    assert (state["status"], state["tails"]) == ("running", 0)
    await page.evaluate(SET_HIDDEN, arg=False)
    await expect(page.locator("#connection")).to_have_text("live")
    await expect(outcome(page)).to_contain_text("Completed")
    assert await text_of(page) == script.text()


async def test_an_interrupted_answer_says_so(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    page = await tabs.open(system.url)
    await page.get_by_label("Model").select_option("anthropic/claude-sonnet-5")  # which has no way to re-attach
    await ask(page, directive(Script(words=2_000, delay_ms=15)))
    await expect(answer(page)).to_contain_text("w10 ")
    system.workers[0].kill()
    await system.workers[0].wait()
    await expect(outcome(page)).to_contain_text("Interrupted")
    await expect(outcome(page)).to_contain_text("worker_lost")
    await expect(page.locator("#state")).to_have_text("ended: interrupted")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert len(await provider.calls()) == 1


async def test_reasoning_and_tool_calls_are_told_from_the_answer(tabs: "Tabs", system: System) -> None:
    script = Script(words=5, reasoning=4, tool=True)
    page = await tabs.open(system.url)
    await ask(page, directive(script))
    await expect(outcome(page)).to_contain_text("Completed")
    assert await text_of(page) == script.text()
    await expect(answer(page).locator(".reasoning")).to_be_hidden()
    await answer(page).get_by_text("Reasoning").click()
    await expect(answer(page).locator(".reasoning")).to_have_text(script.reasoning_text())
    await expect(answer(page).locator("figure code")).to_have_text(script.arguments())


async def test_a_phone_shows_text_without_a_break_and_the_keyboard_is_enough(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await page.set_viewport_size({"width": 320, "height": 600})
    await page.keyboard.type("x" * 400)  # the prompt has the focus
    await page.keyboard.press("Enter")
    await expect(outcome(page)).to_contain_text("Completed")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.keyboard.type(directive(Script(words=2_000, delay_ms=15)))
    await page.keyboard.press("Enter")
    await expect(answer(page)).to_contain_text("w25 ")  # which the first answer does not have
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "stop":
            break
    await page.keyboard.press("Enter")
    await expect(outcome(page)).to_contain_text("Stopped")


async def test_markup_stays_text(tabs: "Tabs", system: System) -> None:
    prompt = "<img src=x onerror=alert(1)><b>bold</b>"
    page = await tabs.open(system.url)
    await ask(page, prompt)
    await expect(outcome(page)).to_contain_text("Completed")
    await page.reload()
    await expect(page.get_by_role("article", name="You")).to_have_text(prompt)
    await expect(page.locator(".conversation").locator("img, b")).to_have_count(0)


async def test_the_demo_is_labelled_as_canned(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await expect(page.get_by_label("Model")).to_have_value("openai/gpt-5.4-mini")
    await expect(page.get_by_text("canned text")).to_be_hidden()
    await page.get_by_label("Model").select_option("demo/story")
    await expect(page.get_by_text("canned text")).to_be_visible()


async def test_a_stream_that_does_not_exist_is_told(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(f"{system.url}/?stream=nobodys")
    await expect(page.get_by_role("alert")).to_contain_text("stream")
    tabs.errors.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


async def test_a_broker_with_keys_is_given_one_by_hand(tabs: "Tabs", redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path, api_keys=f"{API_KEY}:me", demo_delay_ms=1) as system:
        await system.start()
        page = await tabs.open(system.url)
        for key in ("wrong", API_KEY):
            await page.get_by_label("API key").fill(key)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("alert")).to_be_visible(visible=key == "wrong")
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await ask(page, "Tell me a story.")
        await expect(outcome(page)).to_contain_text("Completed")
        await page.reload()
        await expect(outcome(page)).to_contain_text("Completed")
        await tabs.close()
    refused = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
    assert tabs.errors == [refused] * 2
    tabs.errors.clear()


async def test_the_parser_reads_events_cut_anywhere(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    parsed = await page.evaluate(PARSE_CUT_EVERYWHERE, EVENT_STREAM)
    assert parsed == {"events": EVENTS, "retries": [250], "odd": []}
