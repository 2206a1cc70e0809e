"""PROTOCOL: Entries/Codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.log import entries
from midstream.log.entries import Entry, decode, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from([entries.TEXT, entries.REASONING]), st.text())
def test_text_survives_the_codec(kind: str, content: str) -> None:
    assert decode(encode(Entry(kind, {"text": content})), 7, 2) == Entry(kind, {"text": content}, 7, 2)


@given(
    st.sampled_from([t for t in entries.TYPES if t not in (entries.TEXT, entries.REASONING)]),
    st.dictionaries(st.text(), JSON),
)
def test_every_other_type_survives_the_codec(kind: str, data: dict[str, object]) -> None:
    stored = encode(Entry(kind, data))
    assert decode(stored, 1, 1) == Entry(kind, data, 1, 1)
    assert entries.SEPARATOR not in stored


def test_text_costs_one_byte_more_than_itself() -> None:
    assert encode(entries.text("hello")) == b"thello"


def test_a_foreign_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="no known type byte"):
        decode(b"?x", 1, 1)
    with pytest.raises(ValueError, match="no known type byte"):
        decode(b"", 1, 1)
    with pytest.raises(ValueError, match="no JSON object"):
        decode(b"d[1]", 1, 1)
