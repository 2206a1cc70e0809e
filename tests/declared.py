"""Compares every answer that a test gets with what the OpenAPI document declares (PROTOCOL: Http/Declared)."""

import re
from functools import cache
from typing import NamedTuple

import httpx2
from starlette.routing import compile_path

from midstream.http.app import create_app
from midstream.settings import Settings


class Declared(NamedTuple):
    """What one route declares: the content types of each status."""

    path: re.Pattern[str]
    method: str
    answers: dict[str, frozenset[str]]


@cache
def _routes() -> list[Declared]:
    paths = create_app(Settings()).openapi()["paths"]
    return [
        Declared(
            compile_path(path.replace("{model}", "{model:path}").replace("{chat_id}", "{chat_id:text}"))[0],
            method.upper(),
            {status: frozenset(answer.get("content", ())) for status, answer in operation["responses"].items()},
        )
        for path in sorted(paths, key=lambda path: "{" in path)  # as in the app
        for method, operation in paths[path].items()
    ]


async def check(response: httpx2.Response) -> None:
    """Fail where a route answers what it does not declare; a hook of the tests' clients."""
    method, path = response.request.method, response.request.url.path
    answers = next((each.answers for each in _routes() if each.method == method and each.path.match(path)), None)
    if answers is None:
        return
    status, content = str(response.status_code), response.headers.get("content-type", "").partition(";")[0]
    assert status in answers, f"{method} {path} answers {status}, and declares {', '.join(answers)}"
    assert not content or content in answers[status], f"{method} {path} answers {status} as {content}"
