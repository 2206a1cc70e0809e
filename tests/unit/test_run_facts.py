"""What adapters make of values that frameworks and tools return (PROTOCOL: Adapters/Entries)."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from midstream.adapters import langgraph
from midstream.adapters.run_facts import tool_result
from midstream.attempts.app_items import checked
from midstream.attempts.delta import Other

CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: list[Any] = []
for _ in range(2_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("output", "entry"),
    [
        (b"\xff\xd8", "<bytes>"),
        ({"image": b"\xff\xd8"}, "<dict>"),
        ("half \ud800", "<str>"),
        (CIRCLE, "<list>"),
        (DEEP, "<list>"),
        ({"at": object(), "of": float("nan")}, {"at": "<object>", "of": None}),
    ],
)
def test_a_result_without_json_ends_no_run(output: Any, entry: Any) -> None:
    """Adapters/Entries."""
    result = checked(tool_result("c1", "look", output))
    assert isinstance(result, Other)
    assert result.data == {"id": "c1", "name": "look", "output": entry}


async def test_a_command_may_hold_one_message_or_none() -> None:
    """Adapters/Entries."""
    message = SimpleNamespace(tool_call_id="c1", content="done", status="success")

    async def events() -> AsyncIterator[Any]:
        for messages in (message, [message], None):
            output = SimpleNamespace(update={"messages": messages})
            rest: dict[str, Any] = {"metadata": {}, "tags": [], "parent_ids": []}
            yield {"event": "on_tool_end", "name": "look", "run_id": "r", "data": {"output": output}, **rest}

    results = [delta async for delta in langgraph.deltas(events())]
    assert results == [tool_result("c1", "look", "done")] * 2
