"""The scripts of the outbox, as `midstream.log.calls` has those of the streams."""

from collections.abc import Sequence

from midstream.log.calls import Argument, Call
from midstream.log.keys import Key


class NameOutlets(Call):
    """Names outlets of the outbox; `named` are two words for each of them."""

    outlets: Key
    kind: str
    forget_ms: int
    keep_ms: int
    named: Sequence[Argument]


class TakeEnds(Call, beside="prefix"):
    """Takes ends out of the outbox of outlets, for `claim_ms`; `per_outlet` are two words for each outlet."""

    prefix: str
    claim_ms: int
    furthest_ms: int
    per_outlet: Sequence[Argument]


class SettleEnd(Call, beside="prefix"):
    """Says what became of an end: `result` is `taken`, `again` or `abandoned`."""

    prefix: str
    outlet: str
    lane: str
    stream_id: str
    result: str
    tries: int
    delay_ms: int
    keep_ms: int
    most_abandoned: int


class SendAgain(Call, beside="prefix"):
    """Puts ends that were abandoned into the outbox again."""

    prefix: str
    outlet: str
    keep_ms: int
    stream_ids: Sequence[str]
