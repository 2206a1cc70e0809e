"""Routes for the paths of the peers' APIs that are not served here (PROTOCOL: Faces/Absent)."""

from typing import Final

from fastapi import APIRouter, Response

from midstream.http.absent_paths import ABSENT
from midstream.http.auth import ACaller
from midstream.http.problems import Problem

router = APIRouter(include_in_schema=False)

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _refuse(path: str, sentence: str) -> None:
    async def refuse(caller: ACaller) -> Response:  # noqa: ARG001 - an unknown key is refused first
        raise Problem(404, "not_found", sentence)

    router.add_api_route(path, refuse, methods=_METHODS, response_class=Response)
    router.add_api_route(f"{path}/{{rest:path}}", refuse, methods=_METHODS, response_class=Response)


for _path, _sentence in ABSENT.items():
    _refuse(_path, _sentence)
