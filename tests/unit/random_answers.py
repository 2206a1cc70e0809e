"""What a model may answer, as entries drawn by Hypothesis, and how a log holds them."""

from hypothesis import strategies as st

from midstream.log.entries import Entry, Stored, encode

words = st.text(max_size=6)
call = {"id": st.sampled_from(["c1", "c2"]), "name": st.just("f")}
contents = st.one_of(
    st.builds(Entry, st.just("text"), st.fixed_dictionaries({"text": words})),
    st.builds(Entry, st.just("text"), st.fixed_dictionaries({"text": words})),
    st.builds(Entry, st.just("reasoning"), st.fixed_dictionaries({"text": words})),
    st.builds(Entry, st.just("tool_input"), st.fixed_dictionaries({**call, "delta": words})),
    st.builds(Entry, st.just("tool_call"), st.fixed_dictionaries({**call, "arguments": st.sampled_from(["{}", "{"])})),
    st.sampled_from(
        [
            Entry("start", {"epoch": 2, "model": "m"}),
            Entry("tool_result", {"id": "c1", "output": 1}),
            Entry("source", {"url": "http://localhost", "title": "t"}),
            Entry("file", {"url": "http://localhost"}),
            Entry("data", {"kind": "note", "value": 1}),
            Entry("data", {"kind": "reasoning_signature", "signature": "s"}),
            Entry("data", {"kind": "redacted_reasoning", "data": "r"}),
            Entry("data", {"kind": "encrypted_reasoning", "content": "e"}),
            Entry("status", {"state": "retrying", "reason": "r", "paid": False}),
            Entry("usage", {"input_tokens": 1, "output_tokens": 1, "details": {}}),
        ]
    ),
)


def with_whole_calls_once(entries: list[Entry]) -> list[Entry]:
    """Return entries in which nothing of a call comes after its `tool_call`."""
    kept: list[Entry] = []
    whole: set[str] = set()
    for entry in entries:
        if entry.type not in ("tool_input", "tool_call") or entry.data["id"] not in whole:
            kept.append(entry)
        if entry.type == "tool_call":
            whole.add(entry.data["id"])
    return kept


answers = st.lists(contents, max_size=12).map(with_whole_calls_once)


def stored(entries: list[Entry]) -> list[Stored]:
    return [Stored(offset, 1, encode(entry)) for offset, entry in enumerate(entries, 1)]
