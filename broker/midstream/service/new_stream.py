"""The stream that a request asks for, as it is created on the log."""

import orjson

from midstream.access.allowance import Allowances
from midstream.access.api_keys import hash_of
from midstream.access.grant import Grant
from midstream.log.entries import COMPLETED, OUTCOMES, Json
from midstream.log.state import EXTERNAL
from midstream.log.values import NewStream
from midstream.requests.catalogue import is_app
from midstream.requests.conversation import title_of
from midstream.requests.request import GenerationRequest
from midstream.service.start_bodies import encoded


def new_stream_of(
    request: GenerationRequest,
    model: str,
    grant: Grant,
    allowances: Allowances,
    *,
    sent: GenerationRequest | None = None,
    origin: Json | None = None,
    pointer: str = "",
    most_waiting: int = 0,
    trace: str = "",
    idempotency_key: str | None = None,
) -> NewStream:
    """Return the stream that a request of this model asks for; `sent` is what is stored, where it is another request.

    Raises:
        UnwritableRequestError: It holds text that is no Unicode.
    """
    body, stored_origin, digest = encoded(request, origin)
    if sent is not None and sent is not request:  # equal starts have the digest of what was asked for in common
        body, _, _ = encoded(sent, origin)
    ttls_s = {outcome: request.ttl_s or allowances.retention_s(outcome) for outcome in OUTCOMES}
    return NewStream(
        digest=digest,
        tenant=grant.tenant,
        user=grant.user or "",
        key=hash_of(grant.credential),
        model=model,
        policy=_policy(request),
        thread=request.thread or "",
        metadata=orjson.dumps(request.metadata).decode(),
        ttl_s=ttls_s[COMPLETED],
        outcome_ttls_s=ttls_s,
        generation_timeout_ms=_generation_timeout_ms(request),
        request=body,
        origin=stored_origin,
        pointer=pointer,
        trace=trace,
        # Only apps are told of it, and each stream that has it costs the server its bytes.
        idempotency_key=(idempotency_key or "") if is_app(model) else "",
        if_active=request.if_active or "",
        most_waiting=most_waiting,
        title=title_of(request.as_items()) if request.thread else "",
    )


def _policy(request: GenerationRequest) -> str:
    if request.producer == EXTERNAL:
        return EXTERNAL
    # `auto` means `reattach`, which falls back to `interrupt` where the upstream cannot be re-attached.
    return "reattach" if request.on_worker_loss == "auto" else request.on_worker_loss


def _generation_timeout_ms(request: GenerationRequest) -> int:
    """Return what a broker must know at each append without reading the request: 0 where a worker has read it."""
    timeout_s = request.generation_timeout_s if request.producer == EXTERNAL else None
    return 0 if timeout_s is None else max(1, round(timeout_s * 1000))
