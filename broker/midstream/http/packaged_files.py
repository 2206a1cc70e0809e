"""The files that come with the broker, from memory: anybody may ask for them, also a client that takes none of them.

From the file system each request would take turns in threads, and an open file until its client has taken all of it.
"""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

REVALIDATED: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class PackagedFile:
    """A file's content, and the tag by which a browser knows whether it has it."""

    content: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Self:
        """Return a file with its tag."""
        return cls(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')

    def response(self, request: Request, headers: Mapping[str, str] = REVALIDATED) -> Response:
        """Return the file, or 304 to a browser that has it."""
        headers = {**headers, "ETag": self.tag}
        # A proxy that compresses makes the tag a weak one.
        has = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if self.tag in has:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


@cache
def packaged(folder: Path) -> dict[str, PackagedFile]:
    """Return all files below a folder, by their names in it."""
    return {
        path.relative_to(folder).as_posix(): PackagedFile.of(
            path.read_bytes(), mimetypes.guess_type(path.name)[0] or "text/plain"
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def serve_folder(app: FastAPI, prefix: str, folder: Path) -> None:
    """Serve the files of a folder below a prefix."""
    files = packaged(folder)

    async def file(request: Request) -> Response:
        its_file = files.get(request.path_params["name"])
        if its_file is None:
            raise HTTPException(404)
        return its_file.response(request)

    app.router.routes.append(Route(f"{prefix}/{{name:path}}", file, include_in_schema=False))
