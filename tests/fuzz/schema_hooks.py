"""What schemathesis is told: which streams are there, and how lines of JSON are written. It loads this by itself.

Its process runs in any environment, so nothing of ours is imported here.
"""

import json
import os
import random
from typing import Any

import schemathesis  # type: ignore[import-not-found]

THERE = json.loads(os.environ["SCHEMA_THERE"])
"""What values of parameters name something that is there; `spare…` are those that may be ended and deleted."""
THREAD = "/v1/threads/{thread}"
THREAD_EVENTS = f"{THREAD}/events"
ENDING = ("/cancel", "/stop", "/seal", "/trim", "/retain")
OFTEN = 0.7
SELDOM = 0.3
_draw = random.Random(1)  # noqa: S311


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Let most cases be about what is there, and most producers have the owner's word."""
    ends = case.method.upper() == "DELETE" or case.path.endswith(ENDING)
    values = THERE | ({"stream_id": THERE["spare"], "thread": THERE["spare_thread"]} if ends else {})
    for name in case.path_parameters or ():
        if name in values and _draw.random() < OFTEN:
            case.path_parameters[name] = _draw.choice(values[name])
    if case.path == THREAD_EVENTS:
        case.query = {**(case.query or {}), "follow": "false"}  # a thread has no end
        if _draw.random() < OFTEN:
            case.query["after"] = f"{_draw.choice(THERE['stream_id'])}.{_draw.choice(('0', '3', '99', 'end'))}"
    if case.path == "/v1/streams" and isinstance(case.body, dict) and _draw.random() < SELDOM:
        kept = {name: case.body[name] for name in ("messages", "metadata") if name in case.body} or {"input": "x"}
        case.body = kept | {"model": "demo/count", "thread": _draw.choice(THERE["thread"]), "continue_thread": True}
        case.body["trim"] = {name: _draw.choice((None, 1, 2, 99, 10**9)) for name in ("max_messages", "max_chars")}
    for name in case.headers or ():
        if name.lower() == "stream-owner" and _draw.random() < OFTEN:
            case.headers[name] = THERE["owner"]


@schemathesis.serializer("application/x-ndjson")  # type: ignore[untyped-decorator]
def lines(_context: Any, value: Any) -> bytes:
    """Write lines of JSON, some of which are entries."""
    entries = [{"type": "text", "text": "x"}, {"type": "data", "name": "n", "data": value}, value]
    return b"".join(json.dumps(_draw.choice(entries)).encode() + b"\n" for _ in range(_draw.randrange(4)))
