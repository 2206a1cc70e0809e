"""What the command line prints on a real terminal of what a hostile model or broker says.

Operation/Terminal.
"""

import ast
import asyncio
import json
import os
import pty
import re
import sys
import tty
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.contract.scripted_broker import SSE_HEAD, Answer, Exchange, scripted_broker, send

ROOT = Path(__file__).parents[2]
CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
HOSTILE = f"\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b2J{CONTROLS}"
OUR_STYLE = re.compile("\x1b\\[[02]m")
STATE = {"id": f"s1{HOSTILE}", "status": "ended", "outcome": "completed", "model": f"demo/{HOSTILE}", "tail": 3}


def sse(*entries: dict[str, Any]) -> Answer:
    async def answer(exchange: Exchange) -> None:
        exchange.writer.write(SSE_HEAD)
        for offset, data in enumerate(entries, 1):
            await exchange.chunk(f"id: {offset}\nevent: {data['type']}\ndata: {json.dumps(data)}\n\n".encode())

    return answer


def page(*entries: dict[str, Any]) -> Answer:
    return send(200, {"data": [{"offset": n, "type": data["type"], "data": data} for n, data in enumerate(entries, 1)]})


ENTRIES = (
    {"type": "reasoning", "text": HOSTILE},
    {"type": "text", "text": f"{HOSTILE}line\ttab\n"},
    {"type": "data", "kind": HOSTILE, "data": {HOSTILE: HOSTILE}},
    {"type": "reset", "reason": HOSTILE},
    {
        "type": "end",
        "outcome": "completed",
        "finish_reason": HOSTILE,
        "error": {"code": HOSTILE, "message": HOSTILE},
    },
)
REFUSAL = {"code": f"bad{HOSTILE}", "detail": HOSTILE, "errors": [{"at": HOSTILE, "message": HOSTILE}]}


async def on_terminal(*words: str, status: int = 0) -> str:
    """Run a command with a terminal for its input, output and errors, and return all that the terminal was sent."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # else the terminal itself would add carriage returns
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "midstream.cli", *words, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    got, over = bytearray(), asyncio.Event()

    def read() -> None:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux says so that nobody has the other side open any more
            chunk = b""
        got.extend(chunk)
        if not chunk:
            asyncio.get_running_loop().remove_reader(ours)
            over.set()

    asyncio.get_running_loop().add_reader(ours, read)
    await over.wait()
    os.close(ours)
    assert await process.wait() == status, bytes(got)
    return got.decode()


@pytest.mark.parametrize(
    ("words", "answers", "status"),
    [
        (("tail", "s1"), (sse(*ENTRIES),), 0),
        (("start", "hi"), (send(201, STATE), sse(*ENTRIES)), 0),
        (("start", "hi", "--detach"), (send(201, STATE),), 0),
        (("log", "s1"), (page(*ENTRIES), page()), 0),
        (("ls",), (send(200, {"data": [STATE], "next_cursor": None}),), 0),
        (("ls", "--limit", "1"), (send(200, {"data": [STATE], "next_cursor": HOSTILE}),), 0),
        (("show", "s1"), (send(200, STATE | {"metadata": {HOSTILE: HOSTILE}, HOSTILE: HOSTILE}),), 0),
        (("cancel", "s1"), (send(202, STATE),), 0),
        (("show", "s1"), (send(404, REFUSAL),), 1),
        (("tail", "s1"), (send(404, REFUSAL),), 1),
    ],
    ids=["tail", "start", "detached", "log", "ls", "ls-cut", "show", "cancel", "refused", "tail-refused"],
)
async def test_a_terminal_is_sent_no_command(words: tuple[str, ...], answers: tuple[Answer, ...], status: int) -> None:
    async with scripted_broker(*answers) as broker:
        printed = await on_terminal(*words, "--url", broker.url, status=status)
    text = OUR_STYLE.sub("", printed)
    kept = {character for character in text if unicodedata.category(character) == "Cc"}
    assert kept <= {"\n", "\t"}
    assert not set(text) & set(CONTROLS) - {"\n", "\t"}
    assert "owned" in text or words[-1] == "--detach"  # it was shown, as text


async def test_what_a_stream_says_in_one_place_makes_no_line_of_its_own() -> None:
    forged = STATE | {"model": "demo/x\n[completed]"}
    async with scripted_broker(send(200, {"data": [forged], "next_cursor": None})) as broker:
        printed = await on_terminal("ls", "--url", broker.url)
    assert len(printed.splitlines()) == 2


async def test_a_text_keeps_its_lines_and_tabs() -> None:
    answer = sse({"type": "text", "text": "a\tb\r\nc\n"}, {"type": "end", "outcome": "completed"})
    async with scripted_broker(answer) as broker:
        printed = await on_terminal("tail", "s1", "--url", broker.url)
    assert printed.startswith("a\tb\nc\n")


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (("tail", "s1"), (sse(*ENTRIES),)),
        (("log", "s1"), (page(*ENTRIES), page())),
        (("show", "s1"), (send(200, STATE),)),
    ],
    ids=["tail", "log", "show"],
)
async def test_json_is_exact_and_harmless_by_its_escapes(words: tuple[str, ...], answers: tuple[Answer, ...]) -> None:
    async with scripted_broker(*answers) as broker:
        printed = await on_terminal(*words, "--json", "--url", broker.url)
    assert {character for character in printed if not character.isprintable()} == {"\n"}
    lines = [json.loads(line) for line in printed.splitlines()]
    if words[0] == "show":
        assert lines == [STATE]
    else:
        assert [{"type": line["type"], **line["data"]} for line in lines] == [*ENTRIES]


def test_nothing_is_printed_past_the_one_way() -> None:
    """`config` alone prints by itself: it shows the operator's own settings."""
    folder = ROOT / "broker" / "midstream" / "cli"
    past = [
        f"{path.name}:{node.lineno}"
        for path in folder.glob("*.py")
        if path.name not in ("terminal.py", "config.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("echo", "secho"))
        or (isinstance(node, ast.Name) and node.id == "print")
    ]
    assert past == []
