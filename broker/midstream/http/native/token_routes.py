"""`POST /v1/tokens`: read tokens, which a browser may hold (PROTOCOL: Access/Read tokens)."""

from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from midstream.access.grant import Scope
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute

DEFAULT_TTL_S: Final = 900

router = APIRouter(tags=["access"], route_class=JsonRoute)


class TokenRequest(BaseModel):
    """What a read token is for."""

    model_config = ConfigDict(extra="forbid")

    stream: str | None = Field(default=None, min_length=1, max_length=200, description="the one stream that it opens")
    thread: str | None = Field(default=None, min_length=1, max_length=200, description="the one thread that it opens")
    user: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The user whose streams of the thread it opens; only a key of the whole tenant may name one.",
    )
    scopes: frozenset[Scope] = Field(
        default=frozenset({Scope.READ}), description="`read`, `stop` or `send`; you cannot pass on what you lack"
    )
    ttl_s: Annotated[int, Field(ge=1, description="life in seconds, cut at `MIDSTREAM_READ_TOKEN_TTL_S`")] = (
        DEFAULT_TTL_S
    )

    @model_validator(mode="after")
    def _one_subject(self) -> "TokenRequest":
        if (self.stream is None) == (self.thread is None):
            raise ValueError("name a stream or a thread, and not both")
        if not self.scopes or self.scopes - {Scope.READ, Scope.STOP, Scope.SEND}:
            raise ValueError("a read token carries `read`, `stop` or `send`")
        return self


@router.post(
    "/v1/tokens",
    status_code=201,
    response_class=JsonResponse,
    responses={
        201: {"description": "`token`, to be sent as `Authorization: Bearer …`, and `expires_s`, its end."},
        403: {"description": "`insufficient_scope`: you lack a scope, or hold a read token yourself."},
        404: {"description": "`stream_not_found`"},
    },
)
async def post_token(body: TokenRequest, caller: ACaller) -> Response:
    """Make a short-lived token that opens one stream or one thread, for a browser."""
    ttl_s = min(body.ttl_s, caller.settings.read_token_ttl_s)
    token, expires_s = await caller.mint(body.stream, body.thread, body.scopes, ttl_s, user=body.user)
    return JsonResponse({"token": token, "expires_s": expires_s}, 201, {"Cache-Control": "no-store"})
