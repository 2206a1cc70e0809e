"""The log as an attempt needs it, for one stream and by HTTP: a broker stands between (PROTOCOL: Produce/Http)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import httpx2
import orjson

from midstream.attempts.steps import STEP_CODES
from midstream.log.entries import CANCELLED, Json, decode
from midstream.log.errors import (
    IdempotencyMismatch,
    LogFull,
    LogUnavailable,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    StreamSealed,
    TailMismatch,
)
from midstream.log.state import State
from midstream.log.values import NO_NOTES, Claim, Ending, Fence, Look, Notes
from midstream.producer.produce_errors import ProduceError

MOST_ENTRIES: Final = 1_000
"""As many as a broker takes at once."""
FOR_NOW: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
NDJSON: Final = "application/x-ndjson"


class HttpLog:
    """One stream of a broker. Its methods raise what those of `Log` raise.

    Args:
        http: Sends to the broker.
        body: The start's body.
        key: The start's idempotency key.
        take_up: Whether that key is taken up.

    Attributes:
        steps: What the key's earlier streams have done, where it was taken up.
    """

    def __init__(self, http: httpx2.AsyncClient, body: Mapping[str, Any], key: str, *, take_up: bool) -> None:
        self._http = http
        self._body = dict(body)
        self._key = key
        self._take_up = {"Stream-Take-Up": "true"} if take_up else {}
        self.steps: list[Json] = []
        self._path = ""

    async def claim(self, stream_id: str, owner: str, lease_ms: int) -> Claim:  # noqa: ARG002 - as of `Log`
        """Start the stream, or find that the same word has started it.

        Raises:
            ProduceError: The broker refuses the start for good.
        """
        headers = {"Idempotency-Key": self._key, "Stream-Owner": owner, **self._take_up}
        row = await self._post("/v1/streams", json=self._body, headers=headers)
        self._path = f"/v1/streams/{row['id']}"
        self.steps = row.get("steps", [])
        state = State(
            status="running",
            epoch=row["epoch"],
            owner=owner,
            tail=row["tail"],
            model=row["model"],
            created_ms=row["created_ms"],
            started_ms=row["created_ms"],
            lease_ms=row["lease_ms"],
            thread=row["id"],
        )
        return Claim(Fence(state.epoch, owner), state, b"{}", Look(0, None))

    async def release(self, stream_id: str, fence: Fence) -> None:
        """Raise: an external producer gives nothing back to a queue."""
        raise NotImplementedError

    async def request(self, stream_id: str) -> bytes:  # noqa: ARG002
        """Return the start's body."""
        return orjson.dumps(self._body)

    async def state(self, stream_id: str) -> State | None:  # noqa: ARG002
        """Return None: a producer may lack the right to read."""
        return None

    async def append(
        self,
        stream_id: str,  # noqa: ARG002
        fence: Fence,
        tail: int,
        contents: Sequence[bytes],
        *,
        upstream_cursor: int | None = None,  # noqa: ARG002
        after_ms: int | None = None,  # noqa: ARG002
    ) -> int:
        """Append stored entries after offset `tail`, and return the new tail."""
        for start in range(0, len(contents), MOST_ENTRIES):
            lines = []
            for content in contents[start : start + MOST_ENTRIES]:
                entry = decode(content, 0, 0)
                lines.append(orjson.dumps({"type": entry.type, **entry.data}))
            headers = _headers(fence, tail) | {"Content-Type": NDJSON}
            answer = await self._post(f"{self._path}/entries", content=b"\n".join(lines), headers=headers)
            tail = answer["tail"]
        return tail

    async def seal(self, stream_id: str, fence: Fence, tail: int, ending: Ending) -> int:
        """Append the last entries and end the stream."""
        if ending.outcome == CANCELLED:  # the broker ends it so at the producer's next request
            await self.renew(stream_id, fence, 0)
            raise StreamSealed(CANCELLED, fence.epoch, fence.owner)
        *contents, last = ending.contents
        tail = await self.append(stream_id, fence, tail, contents)
        end = decode(last, 0, 0).data
        body = {"outcome": ending.outcome, "usage": end["usage"], "message": (end["error"] or {}).get("message", "")}
        if (end["error"] or {}).get("code") in STEP_CODES:
            body["code"] = end["error"]["code"]
        if end["finish_reason"]:
            body["finish_reason"] = end["finish_reason"]
        answer = await self._post(f"{self._path}/seal", json=body, headers=_headers(fence, tail))
        return int(answer["tail"])

    async def renew(self, stream_id: str, fence: Fence, lease_ms: int, notes: Notes = NO_NOTES) -> bool:  # noqa: ARG002
        """Renew the lease, and return whether the stream is cancelled."""
        try:
            await self._post(f"{self._path}/lease", headers=_headers(fence, 0))
        except StreamSealed as sealed:
            if sealed.outcome != CANCELLED:
                raise
            return True
        return False

    async def _post(self, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = await self._http.post(path, **request)
        except httpx2.TransportError as error:
            raise LogUnavailable(f"{type(error).__name__}: {error}") from error
        document: dict[str, Any] = {}
        try:
            document = answer.json()
        except ValueError as error:
            if answer.is_success:
                raise LogUnavailable("the broker's answer is no JSON") from error
        if not answer.is_success:
            _raise(answer.status_code, document)
        return document


def _headers(fence: Fence, tail: int) -> dict[str, str]:
    return {"Stream-Epoch": str(fence.epoch), "Stream-Owner": fence.owner, "Stream-Tail": str(tail)}


def _raise(status: int, problem: Mapping[str, Any]) -> NoReturn:
    code, detail = str(problem.get("code", "")), str(problem.get("detail", status))
    match code:
        case "stale_epoch":
            raise StaleEpoch(problem["epoch"])
        case "tail_mismatch":
            raise TailMismatch(-1, problem["tail"])
        case "stream_ended":
            raise StreamSealed(problem["outcome"], 0, "")
        case "stream_not_found":
            raise StreamAbsent("")
        case "idempotency_mismatch":
            raise IdempotencyMismatch
        case "stream_deleted":
            raise StreamDeleted
        case "log_full":
            raise LogFull(detail)
        case "limit_exceeded" | "budget_exceeded":
            raise ProduceError(code, detail, retry_after_s=problem.get("retry_after_s"))
    if status in FOR_NOW:
        raise LogUnavailable(detail, code)
    raise ProduceError(code or "unreachable", detail, stream_id=problem.get("id"))
