"""What a client sends on a WebSocket (PROTOCOL: Ws/Messages)."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from midstream.http.json_route import read_json
from midstream.http.problems import Problem, misfit
from midstream.http.producing import OWNER, SealRequest
from midstream.requests.request import GenerationRequest

MAX_REF: Final = 2**53 - 1
"""The largest integer that every client's JSON holds exactly."""


Owner = Annotated[str, Field(pattern=OWNER)]
Ref = Annotated[str, Field(max_length=255)] | Annotated[int, Field(ge=-MAX_REF, le=MAX_REF)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ref: Ref | None = Field(default=None, description="the answer repeats it")


class Auth(_Message):
    """The key or token, where it did not come as a header; on an open socket a new one."""

    type: Literal["auth"]
    key: str


class Start(_Message):
    """Start a generation."""

    type: Literal["start"]
    request: GenerationRequest
    idempotency_key: str | None = Field(default=None, max_length=255)
    tail: bool = True


class Follow(_Message):
    """Send a stream's entries after the offset `after`."""

    type: Literal["tail"]
    id: str
    after: int = Field(default=0, ge=0, le=10**15 - 1)
    catchup: Literal["plain", "coalesced"] = Field(default="plain", description="how what is logged now is sent")


class FollowThread(_Message):
    """Send what a thread's streams hold after the cursor `after`, and what is started in it."""

    type: Literal["tail_thread"]
    thread: str = Field(min_length=1, max_length=200)
    after: str | None = Field(default=None, description="`<stream id>.<offset>`")
    catchup: Literal["plain", "coalesced"] = Field(default="plain", description="how what is logged now is sent")


class Leave(_Message):
    """Leave a stream, whose generation goes on."""

    type: Literal["leave"]
    id: str


class LeaveThread(_Message):
    """Leave a thread."""

    type: Literal["leave_thread"]
    thread: str = Field(min_length=1, max_length=200)


class Cancel(_Message):
    """Cancel a stream."""

    type: Literal["cancel"]
    id: str


class Produce(_Message):
    """Start a stream that the client appends to itself."""

    type: Literal["produce"]
    request: GenerationRequest = GenerationRequest(producer="external")
    idempotency_key: str | None = Field(default=None, max_length=255)
    owner: Owner | None = Field(default=None, description="a random word, by which the start may be sent again")
    take_up: bool = Field(default=False, description="begin another stream where the key's last producer was lost")

    @model_validator(mode="after")
    def _is_external(self) -> Self:
        if self.request.producer is None:
            raise ValueError('`produce` is for a request with `"producer": "external"`')
        return self


class _Fenced(_Message):
    id: str
    epoch: int = Field(ge=1)
    owner: Owner


class Append(_Fenced):
    """Append entries after the offset `tail`, and renew the lease."""

    type: Literal["append"]
    tail: int = Field(ge=0)
    entries: list[Any]


class Lease(_Fenced):
    """Keep a stream for one more lease."""

    type: Literal["lease"]


class Seal(SealRequest, _Fenced):
    """End a stream after the offset `tail`."""

    type: Literal["seal"]
    tail: int = Field(ge=0)


class Ping(_Message):
    """Ask for a `pong`."""

    type: Literal["ping"]


Producing = Produce | Append | Lease | Seal
Tailing = Follow | FollowThread | Leave | LeaveThread
Message = Auth | Start | Tailing | Cancel | Ping | Producing
MESSAGES: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(content: str | bytes, max_depth: int) -> Message:
    """Return a message.

    Raises:
        Problem: `body_too_deep`, or `bad_message`: it cannot be read, or there is no such message.
    """
    try:
        return MESSAGES.validate_python(_value(content, max_depth))
    except ValidationError as error:
        where = misfit(error.errors()).facts
        raise Problem(400, "bad_message", "There is no such message; see PROTOCOL: WebSocket.", **where) from None


def _value(content: str | bytes, max_depth: int) -> Any:
    """Return the value of a message.

    Raises:
        Problem: `body_too_deep`, or `bad_message`: it cannot be read.
    """
    try:
        return read_json(content if isinstance(content, bytes) else content.encode(), max_depth)
    except Problem as problem:
        if problem.code == "body_too_deep":
            raise
        raise Problem(400, "bad_message", "The message cannot be read.", **problem.facts) from None
