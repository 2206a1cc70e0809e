"""What all dialects do with a request before the first byte of an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from midstream.testing.provider.event_stream import NoAnswer, json_answer
from midstream.testing.provider.ledger import Call, Ledger
from midstream.testing.provider.script import Script, last_user_text, read_script

ErrorBody = Callable[[int, str, str | None], Any]
Refuse = Callable[[Request, dict[str, Any]], Any | None]


@dataclass(frozen=True, slots=True)
class Started:
    """A generation that begins: its script, and how this connection is to fail, if it is."""

    script: Script
    fail: str | None
    call: Call
    body: dict[str, Any]


async def start(
    request: Request, api: str, prompt_field: str, error_body: ErrorBody, refuse: Refuse
) -> Started | Response:
    """Read a request, enter it in the books, and return what begins, or the answer that refuses it."""
    ledger: Ledger = request.app.state.ledger
    body = await request.json()
    if (refusal := refuse(request, body)) is not None:
        return json_answer(refusal, ledger.enter(api, body, HTTPStatus.BAD_REQUEST))
    prompt = body[prompt_field]
    script = read_script(prompt if isinstance(prompt, str) else last_user_text(prompt), ledger.script)
    fail = ledger.take_failure(script)
    if fail == "status":
        call = ledger.enter(api, body, script.status)
        named = (request.headers.get(name) for name in ("x-api-key", "x-goog-api-key", "authorization"))
        key = next(filter(None, named), "")
        # Providers repeat the key that they refuse, whole or starred out.
        message = f"refused, as the script says; the key was {key}"
        return json_answer(error_body(script.status, message, script.error_code), call, script.retry_after)
    call = ledger.enter(api, body)
    if fail and script.fail_at < 0:
        return NoAnswer(fail, call)
    return Started(script, fail, call, body)
