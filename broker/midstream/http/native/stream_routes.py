"""`/v1/streams`: start, show, list, read, cancel, delete."""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field, model_validator

from midstream.access.grant import Scope
from midstream.http import page_cursor
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.native.events_route import cursor, events
from midstream.http.prefix import address_of
from midstream.http.producing import OWNER, Facts, begin
from midstream.log.entries import decode, fields_for_clients
from midstream.log.errors import LogTrimmed
from midstream.requests.request import GenerationRequest, UnfitRequestError
from midstream.service.listing import Filter
from midstream.service.stream_handle import StreamHandle

router = APIRouter(prefix="/v1/streams", tags=["streams"], route_class=JsonRoute)

Status = Literal["queued", "running", "ended", "completed", "failed", "cancelled", "interrupted"]


class StartRequest(GenerationRequest):
    """A generation to start, and how to answer."""

    stream: bool = Field(default=False, description="`true`: answer with the stream's events.")
    read_token: bool = Field(
        default=False, description="`true`: answer with a read token of the stream, for a browser. Not with `stream`."
    )

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if self.stream and self.read_token:
            raise ValueError("an answer with the stream's events has no place for a read token")
        return self


EXAMPLES: Any = {
    "shortest": {"summary": "A prompt to the best model there is", "value": {"input": "Why is the sky blue?"}},
    "chat": {
        "summary": "A conversation, answered with its events",
        "value": {
            "model": "demo/story",
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "params": {"words": 40},
            "stream": True,
        },
    },
}


@router.post(
    "",
    status_code=201,
    response_class=Response,
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": EXAMPLES}}}},
    responses={
        201: {"description": "The stream has started; `Location` is its address."},
        200: {"description": "An earlier request with this idempotency key started the stream."},
        410: {"description": "`stream_deleted`"},
        413: {"description": "`body_too_large`"},
        422: {"description": "`unknown_model`, `missing_provider_key`, `idempotency_mismatch`"},
    },
)
async def post_stream(
    http: Request,
    body: StartRequest,
    caller: ACaller,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=255, description="A second request with the same key finds the first one's stream."),
    ] = None,
    stream_owner: Annotated[
        str | None,
        Header(pattern=OWNER, description="An external producer's random word, by which it may send its start again."),
    ] = None,
    stream_take_up: Annotated[
        bool, Header(description="An external producer begins another stream where the key's last one was lost.")
    ] = False,
) -> Response:
    """Start a generation, or a stream that you append to yourself (`"producer": "external"`)."""
    request = GenerationRequest.model_validate(body.model_dump(exclude={"stream", "read_token"}))
    if body.stream or body.read_token:
        caller.require(Scope.READ)
    if body.stream:
        caller.streams.require_room()
    if request.producer is not None:
        if body.stream or body.read_token:
            raise UnfitRequestError("`stream` and `read_token` are not for an external producer.")
        key = idempotency_key or None
        return _produced(http, *await begin(caller, request, key, stream_owner, take_up=stream_take_up))
    if stream_take_up:
        raise UnfitRequestError("`Stream-Take-Up` is for an external producer.")
    stream, is_new = await caller.streams.start(request, idempotency_key or None)
    status = 201 if is_new else 200
    headers = {"Location": address_of(http.scope, stream.id), "Stream-Id": stream.id}
    if body.stream:
        async with caller.streams.follow(stream.id) as follower:
            return events(follower, caller.settings, after=0, status=status, headers=headers)
    document = stream.summary() | {"warnings": stream.warnings}
    if not body.read_token:
        return JsonResponse(document, status, headers)
    token, expires_s = await caller.mint(stream.id, None, frozenset({Scope.READ}), caller.settings.read_token_ttl_s)
    headers["Cache-Control"] = "no-store"
    return JsonResponse(document | {"read_token": token, "read_token_expires_s": expires_s}, status, headers)


def _produced(http: Request, stream: StreamHandle, is_new: bool, fence: Facts) -> Response:
    """Answer an external producer with its stream and its fence."""
    headers = {"Location": address_of(http.scope, stream.id), "Stream-Id": stream.id, "Cache-Control": "no-store"}
    return JsonResponse(stream.summary() | fence, 201 if is_new else 200, headers)


@router.get("", response_class=Response)
async def list_streams(
    caller: ACaller,
    status: Annotated[Status | None, Query(description="Only streams with this status or outcome.")] = None,
    thread: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1)] = 50,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
) -> Response:
    """List streams, newest first. A page may be short; a `next_cursor` means that there may be more."""
    limit = min(limit, caller.settings.page_limit)
    page, last = await caller.streams.list_page(Filter(status, thread), limit, page_cursor.read(cursor))
    return JsonResponse({"data": page, "next_cursor": page_cursor.write(last)})


@router.get("/{stream_id}", response_class=Response)
async def get_stream(
    stream_id: str,
    caller: ACaller,
    wait: Annotated[
        float | None, Query(ge=0, description="Seconds to wait for the stream's end. The answer includes the output.")
    ] = None,
) -> Response:
    """Show a stream's state. With `wait`, wait for its end first, and include its output.

    `tails` is the number of tails in the process that answers.
    """
    if wait is not None:
        await caller.streams.wait_for_end(stream_id, min(wait, caller.settings.max_wait_s))
    stream = await caller.streams.find(stream_id)
    return JsonResponse(await stream.description(output=wait is not None), headers={"Stream-Id": stream_id})


@router.get("/{stream_id}/entries", response_class=Response)
async def get_entries(
    stream_id: str,
    caller: ACaller,
    after: Annotated[str | None, Query(description="The last offset that you have.")] = None,
    limit: Annotated[int, Query(ge=1)] = 100,
    steps: Annotated[bool, Query(description="Show what steps hold; for credentials of the whole tenant.")] = False,
) -> Response:
    """Read a page of entries as JSON."""
    offset = cursor(None, after)
    if steps:
        caller.streams.require_whole_tenant()
    state, page = await caller.streams.page(stream_id, offset, min(limit, caller.settings.page_limit))
    if offset + 1 < state.first:
        raise LogTrimmed(state.first)
    entries = []
    for stored, written_ms in page:
        entry = decode(stored.content, stored.offset, stored.epoch)
        data = {**(entry.data if steps else fields_for_clients(entry)), "type": entry.type}  # as in the native frame
        row = {"offset": entry.offset, "epoch": entry.epoch, "written_ms": written_ms, "type": entry.type, "data": data}
        entries.append(row)
    document = {"data": entries, "first": state.first, "tail": state.tail, "status": state.status}
    return JsonResponse(document | {"outcome": state.outcome or None}, headers={"Stream-Id": stream_id})


@router.post("/{stream_id}/cancel", response_class=Response, status_code=202)
async def cancel_stream(stream_id: str, caller: ACaller) -> Response:
    """Stop a generation. A stream that has ended stays as it is, so the request can be repeated."""
    stream = await caller.streams.find(stream_id, Scope.STOP)
    await stream.cancel()
    return JsonResponse(stream.summary(), 202, {"Stream-Id": stream_id})


@router.delete("/{stream_id}", response_class=Response, status_code=204)
async def delete_stream(stream_id: str, caller: ACaller) -> Response:
    """Delete a stream and its entries. A stream that still runs is cancelled first."""
    stream = await caller.streams.find(stream_id, Scope.STOP)
    await stream.delete()
    return Response(status_code=204, headers={"Stream-Id": stream_id})
