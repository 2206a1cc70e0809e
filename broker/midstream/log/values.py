"""What the log's methods take and give: small frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final, Self

from midstream.log.calls import Argument
from midstream.log.entries import FAILED, INTERRUPTED, decode
from midstream.log.state import State, format_fields

FAILURES: Final = (FAILED, INTERRUPTED)
"""The outcomes that come with an error."""
SHORT_STREAM_BYTES: Final = 6_144
"""What Redis needs for the log and the state of a stream with a short request and a short answer, about."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What lets a producer in: the epoch of its claim, and the random word that it claimed with.

    A fence with an empty owner is a reaper's. It lets nobody in while an owner's lease lasts.
    """

    epoch: int
    owner: str

    @classmethod
    def of_reaper(cls, epoch: int) -> Self:
        """Return the fence of a reaper that has seen the stream at this epoch."""
        return cls(epoch, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """The slip of a new stream, which the script that creates the stream writes (`lifecycle/slips.py`).

    Attributes:
        job_id: Its name on the queue; empty: no slip is written.
        job_key: The key of what arq reads of it.
        job: What arq reads of it.
        keep_job_ms: How long that is kept.
        queue: The key of the queue.
        score_ms: Its place on the queue.
        control: The channel on which workers are woken.
        wake: What they are sent.
    """

    job_id: str = ""
    job_key: str = ""
    job: bytes = b""
    keep_job_ms: int = 0
    queue: str = ""
    score_ms: int = 0
    control: str = ""
    wake: bytes = b""

    def words(self) -> dict[str, Any]:
        """Return the attributes by their names, as `Create` takes them."""
        return {name: getattr(self, name) for name in self.__slots__}


NO_SLIP: Final = Slip()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStream:
    """What a stream is created with; each attribute is stored under its name in the stream's state.

    Attributes:
        digest: Of all that was asked for. A start with the same stream id and the same digest is the same start.
        tenant: Whose it is.
        user: The user of the tenant whose it is; empty: it is all of the tenant's.
        model: What generates it: `provider/name`.
        policy: What becomes of it if its worker is lost (PROTOCOL: Recovery/Verdict).
        key: The beginning of the hash of the API key that starts it; empty: it is started by none.
        thread: The conversation it belongs to; empty: none.
        metadata: The client's own, as JSON.
        ttl_s: How long it is kept after its end.
        outcome_ttls_s: How long it is kept instead, by the outcome that it ends with.
        generation_timeout_ms: How long its producer may take; 0: as long as the settings say, and nothing is stored.
        request: What to generate, as JSON.
        origin: What the endpoint that starts it has to remember; empty: nothing.
        pointer: The key outside of the stream's own ones that leads to it: a chat's, or the tries of a request; empty:
            there is none.
        upstream_id: The provider's id of a response that was paid for another stream, and which this one reads on;
            empty: there is none.
        trace: The trace of its start, as a `traceparent`; empty: there is none, and nothing is stored.
        idempotency_key: What the start named itself by, for its app; empty: nothing, and nothing is stored.
        if_active: What is done if a stream of the thread has not ended (PROTOCOL: Threads/Active); empty: nothing.
        most_waiting: How many streams of the thread may wait where it waits too.
        title: The first words of the user's last message, for the list of threads; empty: none, and nothing is stored.
        slip: The slip that is written with the stream.
    """

    digest: str
    tenant: str
    user: str = ""
    key: str = ""
    model: str
    policy: str = "interrupt"
    thread: str = ""
    metadata: str = "{}"
    ttl_s: int
    outcome_ttls_s: Mapping[str, int] = field(default_factory=dict)
    generation_timeout_ms: int = 0
    request: bytes
    origin: bytes = b""
    pointer: str = ""
    upstream_id: str = ""
    trace: str = ""
    idempotency_key: str = ""
    title: str = ""
    if_active: str = ""
    most_waiting: int = 0
    slip: Slip = NO_SLIP

    @property
    def size_bytes(self) -> int:
        """What Redis needs for the stream before its first entry, about."""
        return SHORT_STREAM_BYTES + len(self.request) + len(self.origin) + len(self.metadata)

    def fields(self) -> list[Argument]:
        """Return names and values, in turn, of all but the digest."""
        words: list[Argument] = [word for name in _NEW_FIELDS for word in (name, getattr(self, name))]
        words += format_fields()
        for outcome, ttl_s in self.outcome_ttls_s.items():
            words += (f"ttl_s_{outcome}", ttl_s) if ttl_s != self.ttl_s else ()
        if self.upstream_id:  # an attempt of the other stream marked the intent
            words += "upstream_id", self.upstream_id, "intent", 1
        if self.generation_timeout_ms:
            words += "generation_timeout_ms", self.generation_timeout_ms
        if self.idempotency_key:
            words += "idempotency_key", self.idempotency_key
        if self.title:
            words += "title", self.title
        return [*words, "trace", self.trace] if self.trace else words

    def as_state(self, created_ms: int) -> State:
        """Return the state that the stream has as it is created."""
        return State(
            tenant=self.tenant,
            user=self.user,
            model=self.model,
            policy=self.policy,
            thread=self.thread,
            metadata=self.metadata,
            ttl_s=self.ttl_s,
            generation_timeout_ms=self.generation_timeout_ms,
            created_ms=created_ms,
            queued_ms=created_ms,
            trace=self.trace,
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What the server said at the claim of a stream about the next look that a reaper planned at it.

    If that look was due long ago, no process was there to look after the stream (PROTOCOL: Recovery/Outdated).

    Attributes:
        now_ms: The server's time at the claim.
        due_ms: The server's time at which the look was due; None: none was planned any more.
    """

    now_ms: int
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim gives to the new owner of a stream.

    Attributes:
        fence: What lets the owner append.
        state: The state at the claim; its tail is the offset of the attempt's `start` entry.
        request: What to generate, as JSON.
        look: The next look that a reaper planned at the stream.
    """

    fence: Fence
    state: State
    request: bytes
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What an owner notes in the state of its stream while it renews its lease; None leaves a field as it is.

    Attributes:
        intent: The epoch that is about to make a paid call; 0: the call was refused before it could be billed.
        paid: How many paid calls were begun.
        upstream_id: The provider's id of the response.
        upstream_cursor: The provider's own position after the last logged entry; -1: unknown.
        spent: What the calls before the one that is about to be made have cost, as text; empty: nobody knows.
    """

    intent: int | None = None
    paid: int | None = None
    upstream_id: str | None = None
    upstream_cursor: int | None = None
    spent: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return what is noted, by the names of the state's fields."""
        return {name: value for name in _NOTES if (value := getattr(self, name)) is not None}

    def followed_by(self, later: "Notes") -> "Notes":
        """Return these notes with those of a later renewal put over them."""
        return replace(self, **later.changes())


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends.

    Attributes:
        contents: The last entries as they are stored, the terminal one last.
        outcome: The outcome that the terminal entry names.
    """

    contents: Sequence[bytes]
    outcome: str

    @property
    def code(self) -> str:
        """The code of the failure that the terminal entry names; empty: none."""
        if not self.contents or self.outcome not in FAILURES:
            return ""
        error = decode(self.contents[-1], 0, 0).data.get("error") or {}
        return str(error.get("code") or "")

    @property
    def cost(self) -> str:
        """What the stream has cost by its terminal entry, in billionths, and the currency; empty: it does not say."""
        cost = decode(self.contents[-1], 0, 0).data.get("cost") if self.contents else None
        return f"{int(Decimal(cost['amount']).scaleb(9))} {cost['currency']}" if cost else ""


_NOT_ALWAYS: Final = (
    "digest",
    "outcome_ttls_s",
    "generation_timeout_ms",
    "upstream_id",
    "trace",
    "idempotency_key",
    "title",
    "if_active",
    "most_waiting",
    "slip",
)
_NEW_FIELDS: Final = tuple(each.name for each in fields(NewStream) if each.name not in _NOT_ALWAYS)
_NOTES: Final = tuple(each.name for each in fields(Notes))
NO_NOTES: Final = Notes()
