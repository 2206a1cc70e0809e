"""The scripts of a start: whether it gets in, and the stream that it creates."""

from collections.abc import Sequence
from typing import Any, Self

from midstream.log.keys import Key
from midstream.log.script_call import Argument, Call


class Create(Call, grows=True, beside="state"):
    """`fields` are names and values of the state, in turn.

    `thread_lists` are keys of the thread's lists, two for each owner with a blank between any two; empty: it has no
    thread. `if_active` says what to do if one of the thread's streams has not ended, empty: nothing; `most_waiting` may
    wait. The lists are kept for `keep_ms` at least, and hold `most_listed` rows at most.

    The words from `job_id` to `wake` are those of a `Slip` that is written with the stream; an empty `job_id`: none is.
    """

    state: Key
    digest: str
    stream_id: str
    thread: str
    thread_lists: str
    keep_ms: int
    most_listed: int
    if_active: str
    most_waiting: int
    job_id: str
    job_key: str
    job: bytes
    keep_job_ms: int
    queue: str
    score_ms: int
    control: str
    wake: bytes
    fields: Sequence[Argument]


class Admit(Call, grows=True, beside="live"):
    """Counts a start, unless a limit refuses it.

    An interval is that between two starts of a steady rate, and a window is the time whose starts may come at once; a
    window or a most of 0 is no limit. `owners` are six words for each of tenant, user and key; see the script.
    `budgets` is JSON (`log/budgets.py`), and the keys of sums of costs begin with `costs`.
    """

    live: Key
    places: Key
    stored: Key
    stream_name: str
    life_ms: int
    size_bytes: int
    tenant_bytes: int
    costs: str
    budgets: bytes
    owners: Sequence[Argument]


class StartStream(Call, grows=True, beside="state", joins=(Admit, Create)):
    """`Admit`, `Watch` and `Create` in one, which ends where a limit refuses the start.

    It answers with what `Admit` answers, and after `ok` also with what the other two do. `words_of_both` are the
    owners, of which there are `owner_words`, and then the state's fields.
    """

    due: Key
    delay_ms: int
    owner_words: int
    words_of_both: Sequence[Argument]

    @classmethod
    def of(cls, admit: Admit, create: Create, due: Key, delay_ms: int) -> Self:
        """Return the call that does what these two do, and has a reaper look at the stream in `delay_ms`."""
        both: dict[str, Any] = vars(admit) | vars(create)
        owners, fields = both.pop("owners"), both.pop("fields")
        return cls(**both, due=due, delay_ms=delay_ms, owner_words=len(owners), words_of_both=[*owners, *fields])
