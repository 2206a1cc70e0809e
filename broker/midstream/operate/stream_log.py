"""A stream's entries as operators see them: what each is, when it came, how large it is (PROTOCOL: Operate/Entries)."""

import bisect
import itertools
import math
from array import array
from collections.abc import Iterable
from typing import Final

from midstream.access.refusals import ContentForbiddenError
from midstream.log.entries import Json, Timed, decode, type_of
from midstream.log.errors import LogTrimmed, StreamAbsent
from midstream.log.state import State
from midstream.operate.operator import Operator
from midstream.service import stopping

SLICES: Final = 120
"""Into so many equal times is a stream's life divided."""
GAPS_MS: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
"""Upper bounds of the classes of gaps; the last class has none."""
STALL_MS: Final = 1_000
MOST_STALLS: Final = 20


async def entries(
    operator: Operator, tenant: str, stream_id: str, after: int, limit: int, *, with_content: bool
) -> Json:
    """Return up to `limit` entries after an offset, and how far the log goes.

    Raises:
        StreamAbsent: There is none that the operator reaches.
        LogTrimmed: The entries after that offset are gone.
        ContentForbiddenError: Operators may not read content here.
        LogUnavailable: Redis did not answer.
    """
    if with_content and not operator.settings.operators_read:
        raise ContentForbiddenError
    name = operator.name_of(tenant, stream_id)
    state, page = await operator.resources.log.read_timed(name, after, min(limit, operator.settings.page_limit))
    if state is None:
        raise StreamAbsent(stream_id)
    if after + 1 < state.first:
        raise LogTrimmed(state.first)
    return {
        "data": [_row(each, with_content=with_content) for each in page],
        "first": state.first,
        "tail": state.tail,
        "status": state.status,
        "outcome": state.outcome or None,
    }


def _row(timed: Timed, *, with_content: bool) -> Json:
    (offset, epoch, content), written_ms = timed
    row = {"offset": offset, "epoch": epoch, "type": type_of(content), "written_ms": written_ms, "bytes": len(content)}
    return row | {"data": decode(content, offset, epoch).data} if with_content else row


async def shape(operator: Operator, tenant: str, stream_id: str) -> Json:
    """Return how a stream's entries are spread over its life, how long the gaps between them are, and its stalls.

    Raises:
        StreamAbsent: There is none that the operator reaches.
        LogUnavailable: Redis did not answer.
    """
    name = operator.name_of(tenant, stream_id)
    state = await stopping.present(operator.resources, name)
    shape = await operator.resources.operations.folds.fold(Shape, name, state, state.tail)
    return shape.document(state)


class Shape:
    """What is counted of a stream's entries, and when each was written."""

    def __init__(self) -> None:
        self._times_ms = array("q")
        self._gaps = [0] * (len(GAPS_MS) + 1)
        self._stalls: list[tuple[int, int, int]] = []
        self._untimed = self._bytes = 0

    def add(self, page: Iterable[Timed]) -> None:
        """Count entries, in their order."""
        for (offset, _, content), written_ms in page:
            self._bytes += len(content)
            if written_ms is None:
                self._untimed += 1
                continue
            last_ms = self._times_ms[-1] if self._times_ms else None
            if last_ms is not None:
                self._note_gap(offset, last_ms, written_ms - last_ms)
            # A new primary's clock may be slow; then the entry counts as written with the last one.
            self._times_ms.append(written_ms if last_ms is None else max(last_ms, written_ms))

    def _note_gap(self, offset: int, last_ms: int, gap_ms: int) -> None:
        self._gaps[bisect.bisect_left(GAPS_MS, gap_ms)] += 1
        if gap_ms >= STALL_MS:
            self._stalls.append((gap_ms, offset, last_ms))
            if len(self._stalls) > MOST_STALLS:
                self._stalls.remove(min(self._stalls))

    def document(self, state: State) -> Json:
        """Return what was counted of the stream with this state."""
        until_ms = state.last_entry_ms or state.ended_ms or state.created_ms
        slice_ms = max(1, math.ceil((until_ms + 1 - state.created_ms) / SLICES))
        ends_ms = [state.created_ms + slice_ms * number for number in range(1, SLICES)]
        bounds = [0, *(bisect.bisect_left(self._times_ms, end_ms) for end_ms in ends_ms), len(self._times_ms)]
        stalls = sorted(self._stalls, key=lambda stall: stall[1])
        return {
            "began_ms": state.created_ms,
            "slice_ms": slice_ms,
            "slices": [end - begin for begin, end in itertools.pairwise(bounds)],
            "gaps": [
                {"upto_ms": upto_ms, "number": number}
                for upto_ms, number in zip((*GAPS_MS, None), self._gaps, strict=True)
            ],
            "stalls": [
                {"before_offset": offset, "began_ms": began_ms, "gap_ms": gap_ms} for gap_ms, offset, began_ms in stalls
            ],
            "entries": len(self._times_ms) + self._untimed,
            "untimed": self._untimed,
            "bytes": self._bytes,
        }
