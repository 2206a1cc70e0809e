/** A stream's past, as entries made of the messages that `GET /v1/threads/{thread}` shows of it. */

/** Returns a page's streams in their order: `{row, prompts, entries}`. */
export function pastTurns({ streams, data }) {
  const byStream = Map.groupBy(data, ({ stream_id: id }) => id);
  return streams.map((row) => {
    const messages = byStream.get(row.id) ?? [];
    return {
      row,
      prompts: messages.filter(({ offset }) => offset === 0),
      entries: messages.filter(({ offset }) => offset > 0).flatMap(entriesOf),
    };
  });
}

function entriesOf({ role, content, reasoning, refusal, tool_calls: calls = [], tool_call_id: id }) {
  if (role === "tool") return [{ type: "tool_result", id, content }];
  const entries = calls.map(({ id: call, function: { name, arguments: words } }) => ({ type: "tool_call", id: call, name, arguments: words }));
  if (refusal) entries.unshift({ type: "data", kind: "refusal", text: refusal });
  if (content) entries.unshift({ type: "text", text: content });
  if (reasoning) entries.unshift({ type: "reasoning", text: reasoning });
  return entries;
}
