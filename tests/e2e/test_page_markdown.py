"""What the page makes of a model's Markdown, which may be hostile, and which comes in pieces."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from midstream.settings import Settings
from tests import inside
from tests.e2e.chat_page import answer, ask, outcome

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

SAMPLE = """# Title

First paragraph, *with* **marks**,
a [link](https://example.org/a "its title") and https://example.org/b.

1. one
2. two

   of two paragraphs
   - nested
3. three

Setext
======

| left | right |
|:-----|------:|
| `a`  | 1     |

```python
def f(x: int) -> str:
    return "no **mark**"
```

> quoted
lazily

    indented code

[by name]

[by name]: https://example.org/c

Last words"""
IN_PIECES = """async ([text, sizes]) => {
  const { GrowingText } = await import("/page/growing_text.js");
  const drawn = (pieces) => {
    const it = new GrowingText(document.createElement("div"));
    for (const piece of pieces) { it.append(piece); it.draw(); }
    it.finish();
    return it.element.innerHTML;
  };
  const pieces = (size) => text.match(new RegExp(`[^]{1,${size}}`, "g"));
  const whole = drawn([text]);
  return { whole, others: sizes.filter((size) => drawn(pieces(size)) !== whole) };
}"""
HOSTILE = """<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2">
<svg/onload=window.pwned=3> <iframe src="javascript:window.parent.pwned=4"></iframe>

[run](javascript:window.pwned=5) [data](data:text/html,<script>window.pwned=6</script>) [file](file:///etc/passwd)
[tabbed](java\tscript:window.pwned=7) [entity](javascript&colon;window.pwned=8) <javascript:window.pwned=9>
[good](https://example.org/?a=1&b=<x>) ![picture](https://example.org/pixel.png) ![x](x" onerror="window.pwned=10)

<style>body { display: none }</style>

```"><script>window.pwned=11</script>
</code></pre><script>window.pwned=12</script>
```

""" + "\n\n".join(("- " * 10_000 + "deep", "> " * 10_000 + "deep", "[" * 20_000, "the end"))
SEEN = """(answer) => ({
  pwned: window.pwned ?? null,
  names: [...new Set([...answer.querySelectorAll(".text *")].map((each) => each.localName))].sort(),
  attributes: [...new Set([...answer.querySelectorAll(".text *")].flatMap((each) => each.getAttributeNames()))].sort(),
  links: [...answer.querySelectorAll(".text a")].map((each) => [each.protocol, each.rel, each.target]),
})"""


async def echo(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    text = messages[-1]["content"]
    for start in range(0, len(text), 500):
        yield text[start : start + 500]


def with_echo(settings: Settings) -> Settings:
    return settings.model_copy(update={"apps": {"echo": f"{__name__}:echo"}, "default_model": "app/echo"})


async def test_markdown_is_shown_and_is_the_same_in_whatever_pieces_it_comes(tabs: "Tabs", settings: Settings) -> None:
    echoing = with_echo(settings)
    async with inside.worker(echoing), inside.broker(echoing) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        await ask(page, SAMPLE)
        await expect(outcome(page)).to_contain_text("Completed")
        text = answer(page).locator(".text")
        await expect(text.locator("h1")).to_have_text(["Title", "Setext"])
        await expect(text.locator("td").last).to_have_attribute("align", "right")
        await expect(text.locator("ol > li")).to_have_count(3)
        await expect(text.get_by_role("link", name="by name")).to_have_attribute("href", "https://example.org/c")
        await expect(text.locator("pre .hljs-keyword").first).to_have_text("def")
        assert await answer(page).evaluate("(it) => it.source()") == SAMPLE
        made = await page.evaluate(IN_PIECES, [SAMPLE, [1, 2, 3, 7, 20]])
        assert "<h1>Setext</h1>" in made["whole"]
        assert made["others"] == []
        await tabs.close()


async def test_hostile_markdown_is_harmless(tabs: "Tabs", settings: Settings) -> None:
    echoing = with_echo(settings)
    async with inside.worker(echoing), inside.broker(echoing) as client:
        here = f"http://localhost:{client.base_url.port}/"
        requests: list[str] = []
        tabs.context.on("request", lambda request: requests.append(request.url))
        page = await tabs.open(here)
        await ask(page, HOSTILE)
        await expect(outcome(page)).to_contain_text("Completed")
        await expect(answer(page)).to_contain_text("the end")
        seen = await answer(page).evaluate(SEEN)
        assert seen["pwned"] is None
        assert not {"script", "img", "svg", "iframe", "style"} & set(seen["names"])
        assert set(seen["attributes"]) <= {"class", "href", "rel", "target", "type", "tabindex"}
        assert seen["links"] == [["https:", "noopener noreferrer nofollow", "_blank"]] * 2
        assert [url for url in requests if not url.startswith(here)] == []
        await expect(answer(page)).to_contain_text("<script>window.pwned = 1</script>")
        # What the purifier would let through cannot become markup by another way, nor run.
        refused = "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')"
        assert "TrustedHTML" in await page.evaluate(
            f"(() => {{ try {{ {refused} }} catch (e) {{ return String(e) }} }})()"
        )
        await page.evaluate(
            "document.body.append(Object.assign(new Image(), { src: 'https://example.org/pixel.png' }))"
        )
        await tabs.close()
    tabs.expected |= {"Content Security Policy", "TrustedHTML", "This document requires"}
