"""What is fuzzed: each target takes any bytes, and lets out nothing but what its reader declares not to raise."""

import contextlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from midstream.access.read_tokens import ReadTokens
from midstream.access.refusals import AccessError
from midstream.client.sse_parser import EventStreamParser, EventTooLargeError
from midstream.http import page_cursor
from midstream.http.ai_sdk import ai_sdk_routes, ui_request
from midstream.http.chat import chat_routes
from midstream.http.json_route import read_json
from midstream.http.messages import messages_routes
from midstream.http.native import stream_routes
from midstream.http.native.events_route import cursor
from midstream.http.native.token_routes import TokenRequest
from midstream.http.peers import unsupported
from midstream.http.problems import Problem
from midstream.http.responses import compaction, input_items
from midstream.http.responses.responses_request import ResponsesRequest, whole_echo
from midstream.http.socket.ws_messages import MESSAGES
from midstream.log.entries import decode, encode, parse_publication
from midstream.requests.provider_objects import refuse_objects
from midstream.requests.remote_files import refuse_remote_files
from midstream.requests.request import GenerationRequest, UnfitRequestError
from midstream.requests.turns import turns
from midstream.settings import Settings
from tests.fuzz.draws import Draw

SETTINGS: Final = Settings(providers={"other": "http://127.0.0.1:9/v1"})
MODELS: Final = ("openai/gpt", "anthropic/claude", "other/model", "demo/count", "app/own")
Json = dict[str, Any]


def codec(data: bytes) -> None:
    """Entries of the log, and publications of them."""
    with contextlib.suppress(ValueError):
        entry = decode(data, 1, 1)
        assert isinstance(entry.data, dict)
        assert decode(encode(entry), 1, 1) == entry
    with contextlib.suppress(ValueError):
        for offset, _, content in parse_publication(data):
            assert isinstance(content, bytes)
            assert isinstance(offset, int)


def cursors(data: bytes) -> None:
    """`Last-Event-ID`, `after`, the AI SDK's ids, a list's cursor, read tokens."""
    header, _, query = data.decode("latin-1").partition("\n")
    with contextlib.suppress(Problem):
        assert 0 <= cursor(header.encode("latin-1"), query or None) < 10**15
    if named := ai_sdk_routes._EVENT_ID.fullmatch(header):
        assert int(named["offset"]) < 10**15
    with contextlib.suppress(Problem):
        assert page_cursor.write(page_cursor.read(header)) is not None
    with contextlib.suppress(AccessError):
        ReadTokens([b"s" * 32]).grant(header)
        raise AssertionError("a forged token is valid")


def event_stream(data: bytes) -> None:
    """The client's parser: however the bytes are cut, the events are the same."""
    draw = Draw(data[:8])
    stream = data[8:]
    places = sorted({0, *(draw.byte() % (len(stream) + 1) for _ in range(8)), len(stream)})
    parser, cut = EventStreamParser(), EventStreamParser()
    with contextlib.suppress(EventTooLargeError):
        whole = parser.feed(stream)
        parts = [event for start, end in pairwise(places) for event in cut.feed(stream[start:end])]
        assert parts == whole
        assert cut.retry_ms == parser.retry_ms


def bodies(data: bytes) -> None:
    """The reader of every body: what it lets through can be stored."""
    with contextlib.suppress(Problem):
        orjson.dumps(read_json(data, 64))


def requests(data: bytes) -> None:
    """The requests of all dialects, up to what is stored and what a worker reads."""
    draw = Draw(data)
    read = READERS[draw.byte() % len(READERS)]
    try:
        body = read_json(orjson.dumps(draw.body()), 64)
        read(body, draw.one_of(MODELS))
    except (Problem, ValidationError, UnfitRequestError, orjson.JSONEncodeError):
        pass  # every one of these is an answer to the client


def _run(request: GenerationRequest, model: str) -> None:
    """Do with a request what a start does with it, before it reaches Redis, and what a worker and a list read."""
    refuse_objects(model, request.params, request.as_items(), SETTINGS)
    refuse_remote_files(model, request.as_items(), SETTINGS)
    unsupported.refuse_lacking(model, request.params, SETTINGS)
    stored = orjson.dumps(request.model_dump(mode="json", exclude_none=True))
    again = GenerationRequest.model_validate_json(stored)
    assert orjson.dumps(again.model_dump(mode="json", exclude_none=True)) == stored
    turns(again.as_messages())
    orjson.dumps(input_items.input_items("s", again.as_messages()))


def _native(body: Json, model: str) -> None:
    request = stream_routes.StartRequest.model_validate({"model": model} | body)
    _run(GenerationRequest.model_validate(request.model_dump(exclude={"stream", "read_token"})), model)


def _responses(body: Json, model: str) -> None:
    request = ResponsesRequest.model_validate({"model": model} | body)
    unsupported.refuse_for_responses(request.params, request.items)
    unsupported.refuse_unreadable(request.items, model, SETTINGS)
    unsupported.encrypted_of(request.include)
    orjson.dumps(whole_echo(request.echo()))
    _run(GenerationRequest(model=model, input=request.items, params=request.params), model)


def _compaction(body: Json, model: str) -> None:
    request = compaction.CompactRequest.model_validate({"model": model} | body)
    unsupported.refuse_for_responses(request.params, request.items)
    unsupported.refuse_unreadable(request.items, model, SETTINGS)
    _run(GenerationRequest(model=model, input=compaction.conversation(request.items), params=request.params), model)


def _completion(body: Json, model: str) -> None:
    request = chat_routes.ChatRequest.model_validate({"model": model} | body)
    unsupported.refuse_for_chat(request.params)
    _run(GenerationRequest(model=model, messages=request.messages, params=request.params), model)


def _message(body: Json, model: str) -> None:
    request = messages_routes.MessagesRequest.model_validate({"model": model, "max_tokens": 1} | body)
    plain = messages_routes._plain(request.system) if request.system else ""
    messages = [kept for each in request.messages if (kept := messages_routes._without_unsigned(each)) is not None]
    system = [{"role": "system", "content": plain}] if plain else []
    _run(GenerationRequest(model=model, messages=[*system, *messages], params=request.model_extra or {}), model)


def _ui_message(body: Json, model: str) -> None:
    request = ui_request.ChatRequest.model_validate({"model": model, "id": "c"} | body)
    assert request.digest
    _run(request.generation(), model)


def _others(body: Json, _model: str) -> None:
    for kind in (TokenRequest, ai_sdk_routes.StopRequest, messages_routes.CountRequest):
        with contextlib.suppress(ValidationError):
            kind.model_validate(body)
    adapter: TypeAdapter[Any] = MESSAGES
    adapter.validate_python(body)


READERS: Final = (_native, _responses, _compaction, _completion, _message, _ui_message, _others)
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__: each for each in (codec, cursors, event_stream, bodies, requests)
}
