"""The snippets of README and docs, run as they stand there against a running system; only its address differs."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from midstream.attempts.delta import Text
from tests.contract.foreign_apps import serving
from tests.e2e.checkout import installed, installed_checkout
from tests.e2e.running_up import Up
from tests.faults.catalogue import FAMILIES

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {
    path: path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "examples/README.md"]
}
FENCES = re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", "".join(PAGES.values()), re.DOTALL)
SNIPPETS = dict(FENCES)
ADDRESS = "http://127.0.0.1:8080"
STORY_ENDS = "Nobody downstream ever noticed that she had been away."
RUN_S = 40


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up") / "data", MIDSTREAM_DEMO_DELAY_MS="10")
    yield running
    running.end(signal.SIGINT)


SHOP = {
    "users.py": """
def current_user(): return "ada"
""",
    "graph.py": """
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langgraph.graph import START, MessagesState, StateGraph
model = GenericFakeChatModel(messages=iter(["Of the air."]))
async def call(state): return {"messages": [await model.ainvoke(state["messages"])]}
graph = StateGraph(MessagesState).add_node("model", call).add_edge(START, "model").compile()
""",
    "agents.py": """
import pydantic_ai, agents
from agents.testing import ScriptedModel, assistant_message
from pydantic_ai.models.test import TestModel
from shop.graph import graph
agents.set_tracing_disabled(True)
agent = pydantic_ai.Agent(TestModel(custom_output_text="Of the air."))
sdk_agent = agents.Agent(name="main", model=ScriptedModel([[assistant_message("Of the air.")]]))
""",
}
"""What a shop has before it comes to midstream; the models are the frameworks' own fakes."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in SHOP.items():
        (folder / name).write_text(text)
    (tmp_path / "main.py").write_text(SNIPPETS["fastapi"])
    (tmp_path / "agent.py").write_text(SNIPPETS["adapters"])
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def run(words: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_snippet_is_forgotten() -> None:
    assert sorted(name for name, _ in FENCES) == sorted(
        ["up", "curl", "eventsource", "python", "asyncio", "cli", "app", "own", "produce", "fastapi", "adapters"]
    )


def test_curl(up: Up, tmp_path: Path) -> None:
    out = run(["bash", "-eu", "-c", SNIPPETS["curl"].replace(ADDRESS, up.url)], tmp_path)
    offsets = [int(offset) for offset in re.findall(r"^id: (\d+)$", out, re.MULTILINE)]
    assert offsets == list(range(1, len(offsets) + 1))
    assert (tmp_path / "seen").read_text().count("\nid: ") == 5
    assert out.count("event: end") == 1
    assert "".join(re.findall(r'"type":"text","text":"(.*)"}', out)).rstrip().endswith(STORY_ENDS)


async def test_eventsource(up: Up, tabs: "Tabs") -> None:
    page = await tabs.open(up.url)
    async with page.expect_console_message(lambda message: message.type == "log") as printed:
        await page.evaluate(f"async () => {{ {SNIPPETS['eventsource']} }}")
        os.kill(up.children()["broker"], signal.SIGKILL)  # it comes back, and so does the EventSource
    outcome, _, text = (await printed.value).text.partition(" ")
    assert outcome == "completed"
    assert text.startswith("[demo] ")
    assert text.count("[demo]") == 1
    assert text.rstrip().endswith(STORY_ENDS)
    tabs.errors.clear()  # Chromium reports the cut connection


IN_A_NOTEBOOK = """
import asyncio
async def cell():  # a notebook's loop runs while its cells do
    {code}
asyncio.run(cell())
"""


@pytest.mark.parametrize("snippet", ["python", "asyncio"])
@pytest.mark.parametrize("notebook", [False, True], ids=["script", "notebook"])
def test_python(snippet: str, notebook: bool, up: Up, tmp_path: Path) -> None:
    script = SNIPPETS[snippet].replace(ADDRESS, up.url)
    if notebook:
        script = script.replace("asyncio.run(main())", "await main()")  # as docs/clients.md says
        script = IN_A_NOTEBOOK.format(code=script.replace("\n", "\n    "))
    out = run([sys.executable, "-W", "error", "-c", script], tmp_path, PYTHONPATH=str(ROOT))
    assert out.rstrip().endswith(f"{STORY_ENDS} completed")


def test_a_program_that_produces(up: Up, tmp_path: Path) -> None:
    printed = run([sys.executable, "-W", "error", "-c", SNIPPETS["produce"].replace(ADDRESS, up.url)], tmp_path)
    assert up.run("tail", printed.strip()).stdout.startswith("Why is the sky blue? ")


async def test_agents_of_frameworks(shop: Path) -> None:
    snippet = runpy.run_path(str(shop.with_name("agent.py")))
    for name in ("in_langgraph", "in_pydantic_ai", "in_openai_agents"):
        deltas = snippet[name]([{"role": "user", "content": "Why?"}], {})
        assert "".join([delta.text async for delta in deltas if isinstance(delta, Text)]) == "Of the air.", name


async def test_an_app_that_was_there_before(shop: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", redis_url)
    app = runpy.run_path(str(shop.with_name("main.py")))["app"]
    async with serving(app, "") as client:
        stream_id = (await client.post("/ask", params={"question": "Why?"})).json()
        answer = await client.get(f"/streams/v1/streams/{stream_id}/events")
    assert "".join(re.findall(r'"type":"text","text":"(.*)"}', answer.text)) == "Of the air."
    assert answer.text.count("event: end") == 1


def test_command_line(up: Up, tmp_path: Path) -> None:
    command = tmp_path / "midstream"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m midstream.cli "$@" --url "{up.url}"\n')
    command.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    out = run(["bash", "-eu", "-c", SNIPPETS["cli"]], tmp_path, PATH=path, PYTHONPATH=str(ROOT))
    whole, from_the_seventh, rest = out.split(STORY_ENDS)
    assert "[demo]" in whole
    assert "[demo]" not in from_the_seventh  # begun after the label
    assert "completed" in rest


def test_an_app_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "agent.py").write_text(SNIPPETS["app"])
    setting = re.fullmatch(r"MIDSTREAM_APPS='(.*)' ~/midstream/scripts/up\n", SNIPPETS["own"])
    assert setting
    scripts_up = installed_checkout(tmp_path / "checkout") / "scripts" / "up"
    up = Up(tmp_path / "data", folder=tmp_path, program=(str(scripts_up),), MIDSTREAM_APPS=setting[1])
    try:
        printed = up.run("start", "hello")
    finally:
        up.end(signal.SIGINT)
    assert printed.stdout == "You said: hello\n"
    assert "  model  app/answer\n  app    app/answer, shop.agent:answer\n" in up.greeting


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="there is nothing to clone")
def test_the_first_screen(tmp_path: Path) -> None:
    get, enter, start = SNIPPETS["up"].splitlines()
    # The user who runs the tests may not own the files.
    trust = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    where = run(["bash", "-eu", "-c", f"{get.replace('REPOSITORY', str(ROOT))} && {enter} && pwd"], tmp_path, **trust)
    clone = installed(Path(where.strip()))
    up = Up(tmp_path / "data", folder=clone, program=(str(clone / start),))
    try:
        assert "midstream is up" in up.greeting
    finally:
        up.end(signal.SIGINT)


def test_the_greeting_is_what_it_prints(up: Up) -> None:
    example = re.search(r"^midstream is up.*?Ctrl-C$", README, re.MULTILINE | re.DOTALL)
    assert example
    printed = up.greeting.replace(up.url, ADDRESS).replace(str(up.data_dir), ".midstream")
    assert printed.replace("demo/story", "local/smollm2").strip() == example.group()


def test_every_file_that_is_linked_is_there() -> None:
    links = [(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)]+)\)", text)]
    inside = [(page, link) for page, link in links if "://" not in link]
    assert len(inside) > 30
    assert [(page.name, link) for page, link in inside if not (page.parent / link.partition("#")[0]).exists()] == []


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)]+)\)", README))
    assert linked == {str(path.relative_to(ROOT)) for path in PAGES if path.parent.name == "docs"}


def test_every_promise_names_faults_that_there_are() -> None:
    table = README.partition("| proved by |")[2].partition("## Measured")[0]
    named = {name for row in table.splitlines() for name in re.findall("`([a-z-]+)`", row.rpartition(" | ")[2])}
    assert len(named) > 10
    assert named <= set(FAMILIES)
